package samples

import "time"

// register has the registry say, a week before, who and what there is. The
// official who vouches for the others is known from the plan, not from here.
func register(s *script) {
	validity := window(registryDay, registryDay.AddDate(1, 0, 0))
	t := registryDay
	next := func(do func(at time.Time)) {
		t = t.Add(20 * time.Second)
		s.at(t, do)
	}
	next(func(at time.Time) {
		s.say("registry", "system.registered", at, about{subject: "system/sys-storage-7"}, obj{
			"system": storageNode, "effective_at": stamp(at),
		})
	})
	next(func(at time.Time) {
		s.say("registry", "ssp.declared", at, about{subject: "ssp/ssp-storage"}, obj{
			"ssp_id": "ssp-storage", "version": "2025.1", "systems": []string{"sys-storage-7"},
			"document": obj{
				"digest": digest("the system security plan of the sample"), "size": 412_809, "media_type": "application/pdf",
				"dataref": "https://vault.agency-a.example/ssp/ssp-storage/2025.1",
			},
			"countries": []string{"IE", "US"}, "employments": []string{"employee", "contractor", "agency"},
			"citizenship_classes": []string{"us_citizen", "foreign"}, "escort_model": "escorted",
			"validity": validity, "effective_at": stamp(at),
		})
	})
	for _, p := range []person{engineer, secondEngineer, approver, escort, secondEscort} {
		next(func(at time.Time) {
			s.say("registry", "person.enrolled", at, about{subject: "person/" + p.Ref}, obj{
				"person": p, "effective_at": stamp(at), "sponsor": official.as("sponsor"),
			})
		})
	}
	for _, p := range []person{escort, secondEscort} {
		next(func(at time.Time) {
			s.say("registry", "escort.qualified", at, about{subject: "person/" + p.Ref}, obj{
				"person_ref": p.Ref, "skills": []string{"linux", "storage"}, "validity": validity,
				"basis": "Practical examination, May 2025.", "assessed_by": official.as("assessor"), "effective_at": stamp(at),
			})
		})
	}
	for i, p := range []person{engineer, approver, escort, secondEscort} {
		next(func(at time.Time) {
			s.say("registry", "authorization.granted", at, about{subject: "person/" + p.Ref}, obj{
				"authorization_id": "auth-" + string(rune('1'+i)), "person_ref": p.Ref, "role": p.Role,
				"scope":    obj{"systems": []string{"sys-storage-7"}, "impact_levels": []string{"IL4"}},
				"validity": validity, "granted_by": official, "effective_at": stamp(at),
			})
		})
	}
}
