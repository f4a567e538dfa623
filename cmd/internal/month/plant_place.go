package month

import "time"

var placePlantings = []Planting{
	{Rule: "COVERED_NATION", Name: "an engineer, a viewer, an approver, an author; who has access is in an undeclared country, too", plant: func(w *world) {
		s := w.plantSession(time.Time{})
		s.engineer = w.newEngineer("RU", "mdm")
		w.expect("COVERED_NATION", s.ref())
		w.expect("UNDISCLOSED", s.ref())

		s = w.plantSession(time.Time{})
		s.viewers = []person{w.newEngineer("CN", "mdm").as("viewer")}
		w.expect("COVERED_NATION", s.ref())
		w.expect("UNDISCLOSED", s.ref())

		s = w.plantSession(time.Time{})
		s.approver = w.newEngineer("IR", "mdm").as("approver")
		w.expect("COVERED_NATION", s.ref())

		c := w.changeByPipeline(firstDay.AddDate(0, 0, 2).Add(7 * time.Hour))
		c.author = w.newEngineer("KP", "mdm")
		w.planned = append(w.planned, c)
		w.expect("COVERED_NATION", c.ref())
	}},
	{Rule: "LOCATION_WEAK", Name: "unknown, self-attested, contradicted by the connection, moved too fast", plant: func(w *world) {
		for _, f := range []func(*session){
			func(s *session) { s.engineer = w.newEngineer("", "") },
			func(s *session) { s.engineer = w.newEngineer("IE", "attested") },
			func(s *session) {
				s.engineer = w.newEngineer("IE", "mdm")
				s.on("participant.joined", func(h *happening) {
					if h.data["participant"] == s.engineer {
						h.data["connection_country"] = "PL"
					}
				})
			},
		} {
			s := w.plantSession(time.Time{})
			f(s)
			w.expect("LOCATION_WEAK", s.ref())
		}
		here := w.plantSession(time.Time{})
		here.engineer = w.newEngineer("IE", "mdm")
		there := w.plantSession(time.Time{})
		there.slot, there.escort = here.slot, here.escort
		there.slot.start = here.end().Add(time.Minute)
		there.start = there.slot.start.Add(20 * time.Minute)
		there.from, there.to = there.slot.start, there.slot.start.Add(time.Hour)
		there.engineer = here.engineer.in("IN", "mdm")
		w.expect("LOCATION_WEAK", "person/"+there.engineer.Ref)
	}},
	{Rule: "UNDISCLOSED", Name: "a country, an employment, a class, and an escort model that the plan does not name", plant: func(w *world) {
		s := w.plantSession(time.Time{})
		s.engineer = w.newEngineer("BR", "mdm")
		w.expect("UNDISCLOSED", s.ref())
		for _, change := range []func(*plan){
			func(p *plan) { p.employments = []string{"employee", "agency"} },
			func(p *plan) { p.classes = []string{"us_citizen"} },
			func(p *plan) { p.escorts = "none" },
		} {
			s := w.plantSession(time.Time{})
			p := declared
			change(&p)
			s.target = w.newSystem("IL4", []string{"linux"}, p, s)
			w.expect("UNDISCLOSED", s.ref())
		}
	}},
}
