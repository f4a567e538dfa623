package cosign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
)

const (
	// DefaultTimeout bounds one HTTP exchange with a witness.
	DefaultTimeout = 10 * time.Second
	// DefaultMaxSkew is how far a cosignature's time may be from ours.
	DefaultMaxSkew = 10 * time.Minute
)

// Config of a Group. Policy and LogKeys are required.
type Config struct {
	Policy  *checkpoint.Policy
	LogKeys []*checkpoint.Verifier // all keys of the log; the origin is the name of the first
	// Client makes the requests; nil is a client of its own. Redirects are never followed.
	Client  *http.Client
	Timeout time.Duration // of one exchange; 0: DefaultTimeout
	MaxSkew time.Duration // 0: DefaultMaxSkew

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Group is the witnesses of a policy. Its methods may be used concurrently.
type Group struct {
	Config
	members []*member
	noURL   []string // policy names of witnesses that cannot be asked
	metrics *metrics
	read    tile.Reader // nil until ReadFrom
}

// ReadFrom gives the group the log's hash tiles and, at level -1, its entry bundles, which
// mirrors need; without it they are asked like witnesses. Call it before the first Ask.
func (g *Group) ReadFrom(read tile.Reader) { g.read = read }

// New returns the witnesses of a policy.
func New(c Config) *Group {
	c.setDefaults()
	g := &Group{Config: c, metrics: newMetrics(c.Registerer)}
	for _, w := range c.Policy.Witnesses {
		if slices.ContainsFunc(c.LogKeys, func(k *checkpoint.Verifier) bool { return k.VKey() == w.Key.VKey() }) {
			continue // the log's own key, demanded by the policy: the log signs by itself
		}
		url := strings.TrimSuffix(w.URL, "/")
		if url == "" {
			g.noURL = append(g.noURL, w.Name)
			c.Logger.Warn("the policy gives no URL for a witness: it cannot be asked", "witness", w.Name)
			continue
		}
		i := slices.IndexFunc(g.members, func(m *member) bool { return m.url == url })
		if i < 0 {
			i = len(g.members)
			g.members = append(g.members, newMember(g, url, w.Name))
		}
		g.members[i].keys = append(g.members[i].keys, w)
	}
	return g
}

func (c *Config) setDefaults() {
	if c.Client == nil {
		c.Client = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       15 * time.Minute, // longer than an idle log waits before it asks again
			ExpectContinueTimeout: time.Second,
		}}
	}
	// A redirected POST would tell a third party's answer as the witness's.
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &client
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxSkew == 0 {
		c.MaxSkew = DefaultMaxSkew
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// round is one checkpoint on its way to the witnesses.
type round struct {
	cp        checkpoint.Checkpoint
	text      string
	note      string // with the log's own signatures only
	prove     func(ctx context.Context, from int64) ([]tlog.Hash, error)
	got       func(checkpoint.Cosignature)
	remembers func(witness string, note []byte)
}

// Ask sends note to every witness at once. It calls got, from any goroutine, with
// every cosignature that verified, as it arrives, and returns when each witness has
// answered or failed, or ctx has ended. prove gives the RFC 6962 consistency proof
// from an older size to cp's. When a witness holds a checkpoint that the log signed and that
// contradicts cp (it is larger, or not of the history that prove proves), remembers is called
// with it. After Ask has returned neither is called any more.
func (g *Group) Ask(ctx context.Context, cp checkpoint.Checkpoint, note []byte,
	prove func(ctx context.Context, from int64) ([]tlog.Hash, error),
	got func(checkpoint.Cosignature),
	remembers func(witness string, note []byte)) {
	own, err := g.ownNote(cp, note)
	if err != nil {
		g.Logger.ErrorContext(ctx, "the log's checkpoint cannot be sent to witnesses", "error", err)
		return
	}
	r := &round{cp: cp, text: cp.Text(), note: own, prove: prove, got: got, remembers: remembers}
	var wg sync.WaitGroup
	for _, m := range g.members {
		wg.Go(func() { m.ask(ctx, r) })
	}
	wg.Wait()
}

// ownNote returns the checkpoint with the log's own signatures only: some
// witnesses refuse bodies of more than 10 KiB.
func (g *Group) ownNote(cp checkpoint.Checkpoint, note []byte) (string, error) {
	text, sigs, err := checkpoint.ParseNote(note)
	if err != nil {
		return "", err
	}
	if text != cp.Text() {
		return "", errors.New("the note is not of the checkpoint")
	}
	good, err := checkpoint.Verify(text, sigs, g.LogKeys...)
	if err != nil {
		return "", err
	}
	var lines [][]byte
	for _, l := range good {
		lines = append(lines, l.Line())
	}
	return string(checkpoint.Join(text, lines...)), nil
}

// Remembered asks each witness's monitoring endpoint for the newest checkpoint of this
// log that it holds and calls got, from any goroutine, with those that bear this log's
// valid signature. A witness that has none yet is not an error. The error names the
// witnesses that could not be asked or answered with something else.
func (g *Group) Remembered(ctx context.Context, got func(witness string, note []byte)) error {
	errs := make([]error, len(g.members))
	var wg sync.WaitGroup
	for i, m := range g.members {
		wg.Go(func() {
			_, note, err := m.memory(ctx)
			if err != nil {
				errs[i] = fmt.Errorf("witness %s: %w", m.name, err)
			} else if note != nil {
				got(m.name, note)
			}
		})
	}
	wg.Wait()
	for _, name := range g.noURL {
		errs = append(errs, fmt.Errorf("witness %s: the policy gives no URL for it", name))
	}
	return errors.Join(errs...)
}
