package month

import "time"

var sourcePlantings = []Planting{
	{Rule: "SEQUENCE", Name: "a gap, a repeat, a broken prevhash", plant: func(w *world) {
		for i, f := range []func(*happening){
			func(h *happening) { h.gap = 1 },
			func(h *happening) { h.repeat = true },
			func(h *happening) { h.broken = true },
		} {
			h := w.heartbeat(w.monitors[0], firstDay.AddDate(0, 0, 3+i).Add(9*time.Hour))
			f(h)
			w.expect("SEQUENCE", "event/"+h.id)
		}
	}},
	{Rule: "SOURCE_SILENT", Name: "two heartbeats that are missing, totals unlike the leaves", plant: func(w *world) {
		s := w.monitors[1]
		day := firstDay.AddDate(0, 0, 9)
		w.silent[s] = append(w.silent[s], silence{day.Add(4 * time.Hour), day.Add(12 * time.Hour)})
		w.expect("SOURCE_SILENT", "source/"+s.uri)
		key := periodKey{s, day.AddDate(0, 0, 3)}
		w.periodEdits[key] = append(w.periodEdits[key], func(h *happening) {
			totals, _ := h.data["totals"].(obj)
			for name, n := range totals {
				count, _ := n.(int)
				totals[name] = count + 1
			}
		})
		w.expect("SOURCE_SILENT", "source/"+s.uri)
	}},
	{Rule: "TIME", Name: "late into the log, late recorded, from the future, backwards, into a closed period", plant: func(w *world) {
		day := firstDay.AddDate(0, 0, 10).Add(13 * time.Hour)
		plant := func(f func(*happening)) {
			h := w.heartbeat(w.monitors[2], day)
			f(h)
			w.expect("TIME", "event/"+h.id)
			day = day.AddDate(0, 0, 1)
		}
		plant(func(h *happening) { h.logged = h.recorded.Add(20 * time.Minute) })
		plant(func(h *happening) {
			h.recorded = h.at.Add(6 * time.Minute)
			h.logged = h.recorded.Add(h.from.delay)
		})
		plant(func(h *happening) { h.logged = h.at.Add(-2 * time.Minute) })
		plant(func(h *happening) {
			w.heartbeat(h.from, h.at)
			h.at, h.recorded = h.at.Add(-time.Minute), h.recorded.Add(-time.Minute)
			h.logged = h.logged.Add(5 * time.Second)
		})
		plant(func(h *happening) {
			h.at = day.Truncate(24 * time.Hour).Add(24*time.Hour - 30*time.Second)
			h.recorded = h.at.Add(2 * time.Minute)
			h.logged = h.recorded.Add(h.from.delay)
		})
	}},
}
