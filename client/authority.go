package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// AuthorityHead is the end of a log's chain of authority events, which the next
// one must name. A log tells it and nothing proves it; but an event built on a
// wrong one is good for nothing, since it names both the log and its place.
type AuthorityHead struct {
	// Origin is the name of the log.
	Origin string
	// Covered is the index after the newest authority event.
	Covered int64
	// Prev is the leaf hash of the newest authority event.
	Prev tlog.Hash
}

// Header is the header of the next authority event, with a fresh id and the
// submitter's time.
func (s *Submitter) Header(h AuthorityHead) event.Header {
	var random [10]byte
	rand.Read(random[:]) // never fails, as crypto/rand says
	now := s.clock().UTC().Truncate(time.Millisecond)
	return event.Header{ID: event.NewUUIDv7(now.UnixMilli(), random), Time: now, Origin: h.Origin, Prev: h.Prev}
}

// AuthorityHead asks the log for the end of its chain (GET /v1/log). Where the
// Submitter has a policy, the origin is that of one of the policy's logs.
func (s *Submitter) AuthorityHead(ctx context.Context) (AuthorityHead, error) {
	status, header, answer, err := s.do(ctx, s.patience(), http.MethodGet, "/v1/log", nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return AuthorityHead{}, err
	}
	if status != http.StatusOK {
		problem, ok := parseProblem(header, answer)
		if !ok {
			problem.Detail = excerpt(answer)
		}
		problem.Status = status
		return AuthorityHead{}, fmt.Errorf("%w: %s/v1/log answered %s", ErrUnavailable, s.URL, problem)
	}
	var info struct {
		Origin    string `json:"origin"`
		Authority struct {
			Covered int64  `json:"covered"`
			Prev    string `json:"prev"` // 64 hex digits, as in an event's data.prev
		} `json:"authority"`
	}
	if err := json.Unmarshal(answer, &info); err != nil {
		return AuthorityHead{}, fmt.Errorf("%w: %s/v1/log is not what a log sends: %w", ErrUnavailable, s.URL, err)
	}
	head := AuthorityHead{Origin: info.Origin, Covered: info.Authority.Covered}
	prev, err := hex.DecodeString(info.Authority.Prev)
	if err != nil || len(prev) != len(head.Prev) || info.Origin == "" {
		return AuthorityHead{}, fmt.Errorf("%w: %s/v1/log names no origin and authority event to build on", ErrUnavailable, s.URL)
	}
	copy(head.Prev[:], prev)
	if s.Policy != nil && !slices.ContainsFunc(s.Policy.Logs, func(l checkpoint.PolicyLog) bool { return l.Key.Name() == head.Origin }) {
		return AuthorityHead{}, fmt.Errorf("the log at %s says it is %q, which is no log of the policy", s.URL, head.Origin)
	}
	return head, nil
}

// maxRebuilds is how often SubmitAuthority builds an event anew because others
// came first. Each of those took an administrator's signature, so it is rare.
const maxRebuilds = 8

// SubmitAuthority builds an authority event on the log's newest one, signs it
// with every signer and submits it. When another authority event was faster, it
// builds and signs anew; so all signers must be here. An event that others sign
// as well is built with [SignEvent] and submitted with [Submitter.Submit].
//
// build is one of event.NewKeyRegistered, event.NewAdminsChanged and so on.
func (s *Submitter) SubmitAuthority(ctx context.Context, build func(event.Header) ([]byte, error), signers ...crypto.Signer) (*Receipt, error) {
	var err error
	for range maxRebuilds {
		var head AuthorityHead
		if head, err = s.AuthorityHead(ctx); err != nil {
			return nil, err
		}
		var payload []byte
		if payload, err = build(s.Header(head)); err != nil {
			return nil, err
		}
		var v *entry.Envelope
		if v, err = SignEvent(payload, signers...); err != nil {
			return nil, err
		}
		var results []Result
		results, err = s.Submit(ctx, v)
		if err == nil {
			err = results[0].Err
		}
		if err == nil {
			return results[0].Receipt, nil
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Problem.Slug() != event.SlugStaleAuthority {
			return results[0].Receipt, err
		}
		s.logger().InfoContext(ctx, "another authority event came first, building anew", "log", s.URL)
	}
	return nil, err
}

// SignEvent wraps a payload in an envelope signed by every signer, in order.
func SignEvent(payload []byte, signers ...crypto.Signer) (*entry.Envelope, error) {
	v := &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload}
	for _, signer := range signers {
		sig, err := event.Sign(signer, v.PayloadType, v.Payload)
		if err != nil {
			return nil, err
		}
		v.Signatures = append(v.Signatures, sig)
	}
	return v, nil
}
