package samples

import "time"

// goodSession plans a session in which everything is as it should be: asked for,
// approved, escorted, recorded, its change reviewed and approved by others than
// its author, and attested by the escort.
func goodSession(sc *script) {
	start := goodDay.Add(30 * time.Minute)
	s := &session{
		script: sc, id: GoodSession, ticket: "INC-1042", escort: escort,
		start: start, end: start.Add(10*time.Minute + 30*time.Second), window: window(goodDay.Add(15*time.Minute), goodDay.Add(135*time.Minute)),
	}
	privileges := []string{"storage.configure", "storage.read"}
	s.prepare(goodDay, "A storage node reports slow requests.",
		"Backfill on osd.12 starves clients. Lower osd_max_backfills to 1 on sys-storage-7 (chg-77).", privileges)
	change := &plannedChange{session: s, content: "osd.12: osd_max_backfills: 1\n"}
	change.decide()
	s.open(privileges)
	s.relay(70*time.Second, "systemctl status ceph-osd@12", "", "active (running) since Mon 2025-06-09", "")
	s.relay(2*time.Minute, "journalctl -u ceph-osd@12 --since -1h | grep -c 'slow request'", "", "318\n", "")
	s.relay(3*time.Minute+10*time.Second, "rm -rf /var/log/ceph/*", "Deletes logs, which the ticket does not ask for.", "", "")
	s.relay(4*time.Minute, "storagectl plan --file /srv/changes/chg-77.yaml", "", "1 setting differs on osd.12\n", GoodChange)
	s.relay(5*time.Minute, "storagectl apply --file /srv/changes/chg-77.yaml", "", "osd.12: osd_max_backfills 3 -> 1\n", GoodChange)
	change.apply(5*time.Minute + 12*time.Second)
	s.relay(8*time.Minute, "storagectl health osd.12", "", "ok, no slow requests for 120 s\n", GoodChange)
	change.verify(8*time.Minute + 20*time.Second)
	s.close()
	s.record()
	s.after(24*time.Minute, func(at time.Time) {
		s.say("escort-p-c21d", "session.attested", at, s.about(s.began), obj{
			"session_id": s.id, "attester": s.escort, "observed_all": true, "understood_all": true,
			"unexplained_count": 0, "anomalies": nil, "present_ms": s.end.Sub(s.start).Milliseconds(),
		})
	})
}

// plannedChange is the change that the good session makes.
type plannedChange struct {
	*session
	content  string // of its one artifact
	proposed obj    // EventRefs
	approved obj
	applied  obj
}

func (c *plannedChange) about(cause obj) about {
	return about{subject: "change/" + GoodChange, session: c.id, cause: cause}
}

func (c *plannedChange) artifacts() []obj {
	return []obj{{
		"digest": digest(c.content), "size": len(c.content), "media_type": "application/yaml",
		"dataref": "https://pipeline.operator.example/artifacts/chg-77.yaml",
	}}
}

// decide plans the proposal, the review and the approval, all before the session.
func (c *plannedChange) decide() {
	var reviewed obj
	c.after(-28*time.Minute, func(at time.Time) {
		c.proposed = c.say("pipeline", "change.proposed", at, c.about(nil), obj{
			"change_id": GoodChange, "kind": "configuration", "author": engineer.as("author"), "artifacts": c.artifacts(),
			"targets": []obj{storageNode}, "proposed_digest": digest(c.content), "ticket": c.ticket, "session_id": c.id,
		})
	})
	c.after(-21*time.Minute, func(at time.Time) {
		reviewed = c.say("pipeline", "change.reviewed", at, c.about(c.proposed), obj{
			"change_id": GoodChange, "reviewer": secondEngineer, "decision": "accepted", "reviewed_digest": digest(c.content),
			"duration_ms": 184_000, "session_id": c.id,
		})
	})
	c.after(-15*time.Minute, func(at time.Time) {
		c.approved = c.say("pipeline", "change.approved", at, c.about(reviewed), obj{
			"change_id": GoodChange, "approver": approver, "auto": false, "approved_digest": digest(c.content),
			"targets": []obj{storageNode}, "window": c.window, "policy": policy, "session_id": c.id,
		})
	})
}

func (c *plannedChange) apply(d time.Duration) {
	c.after(d, func(at time.Time) {
		c.applied = c.say("pipeline", "change.applied", at, c.about(c.approved), obj{
			"change_id": GoodChange, "kind": "configuration", "author": engineer.as("author"), "applied_by": c.escort,
			"artifacts": c.artifacts(), "targets": []obj{storageNode}, "applied_digest": digest(c.content),
			"outcome": "succeeded", "session_id": c.id,
		})
	})
}

func (c *plannedChange) verify(d time.Duration) {
	c.after(d, func(at time.Time) {
		c.say("pipeline", "change.verified", at, c.about(c.applied), obj{
			"change_id": GoodChange, "verifier": secondEngineer.as("verifier"), "method": "test",
			"verified_digest": digest(c.content), "outcome": "passed", "session_id": c.id,
		})
	})
}
