package outbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	jsonv2 "github.com/go-json-experiment/json"
)

// clockTolerance is how far ahead of a log's clock an event may be; see
// event.CheckClock. A clock that was set back by less is waited for: the times
// at which a source recorded its events never go back.
const clockTolerance = 5 * time.Minute

// build makes and signs the next event of the source. mu is held.
func (o *Outbox) build(e Event) (*entry.Envelope, *event.Event, error) {
	now := o.now().UTC().Truncate(time.Millisecond)
	recorded := now
	if last := o.state.Recorded; last.After(now) && last.Sub(now) <= clockTolerance {
		recorded = last
	}
	if e.Time.IsZero() {
		e.Time = recorded
	}
	if e.ID == "" {
		var random [10]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, nil, err
		}
		e.ID = event.NewUUIDv7(recorded.UnixMilli(), random)
	}
	a := event.Attributes{
		ID: e.ID, Source: o.config.Source, Type: e.Type, Subject: e.Subject, Time: e.Time.UTC(), RecordedTime: recorded,
		DataSchema: e.DataSchema, Sequence: o.state.Next, PrevHash: o.state.PrevHash, Extensions: e.Extensions,
	}
	payload, err := event.Build(a, e.Data)
	if err != nil {
		return nil, nil, err
	}
	ev, err := event.Parse(payload)
	if err != nil {
		return nil, nil, err
	}
	if err := event.Validate(ev, o.config.AllowOpaque); err != nil {
		return nil, nil, err
	}
	if err := event.CheckClock(ev, recorded.UnixMilli()); err != nil {
		return nil, nil, err
	}
	v, err := client.SignEvent(payload, o.config.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("outbox: signing: %w", err)
	}
	return v, ev, nil
}

func marshalRecord(r *record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("outbox: writing a record: %w", err)
	}
	return body, nil
}

func parseRecord(body []byte) (*record, error) {
	r := new(record)
	return r, jsonv2.Unmarshal(body, r, jsonv2.RejectUnknownMembers(true))
}
