package samples

import "time"

// unattestedSession plans a session that looks like any other, and whose escort
// never attests it. Nothing in the log says so: what shows it is that the log is
// complete and no such leaf is in it. The day after, the services state their
// totals.
func unattestedSession(sc *script) {
	start := unattestedDay.Add(30 * time.Minute)
	s := &session{
		script: sc, id: UnattestedSession, ticket: "INC-1057", escort: secondEscort,
		start: start, end: start.Add(6*time.Minute + 30*time.Second), window: window(unattestedDay.Add(15*time.Minute), unattestedDay.Add(75*time.Minute)),
	}
	privileges := []string{"storage.read"}
	s.prepare(unattestedDay, "A disk of a storage node fails its self-test.",
		"SMART errors on /dev/sdk of sys-storage-7. Read the counters before the disk is replaced.", privileges)
	s.open(privileges)
	s.relay(80*time.Second, "smartctl -a /dev/sdk", "", "Reallocated_Sector_Ct 184\n", "")
	s.relay(3*time.Minute, "dmesg --level err | tail -n 20", "", "sdk: critical medium error\n", "")
	s.close()
	s.record()

	day := unattestedDay.Truncate(24 * time.Hour)
	for i, source := range []string{"broker", "console", "gateway", "recorder", "pipeline"} {
		s.at(day.Add(24*time.Hour+time.Duration(5+i)*time.Second), func(at time.Time) {
			s.closePeriod(source, day.AddDate(0, 0, -1), day.AddDate(0, 0, 1), at)
		})
	}
}
