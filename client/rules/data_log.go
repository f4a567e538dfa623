package rules

import (
	"encoding/json"
	"time"
)

// Changes.

type proposed struct {
	Author *person `json:"author"`
}

func (d *proposed) people() []named { return people(named{asAuthor, d.Author}) }

type changeReviewed struct {
	Reviewer *person `json:"reviewer"`
	Decision string  `json:"decision"`
	Digest   string  `json:"reviewed_digest"`
}

func (d *changeReviewed) people() []named { return people(named{asReviewer, d.Reviewer}) }

type changeApproved struct {
	Approver *person  `json:"approver"`
	Digest   string   `json:"approved_digest"`
	Targets  []system `json:"targets"`
	Window   *window  `json:"window"`
}

func (d *changeApproved) people() []named { return people(named{asApprover, d.Approver}) }

type changeRejected struct {
	RejectedBy *person `json:"rejected_by"`
}

func (d *changeRejected) people() []named { return people(named{asOther, d.RejectedBy}) }

type emergency struct {
	DeclaredBy *person `json:"declared_by"`
}

func (d *emergency) people() []named { return people(named{asOther, d.DeclaredBy}) }

type applied struct {
	SessionID   string   `json:"session_id"`
	PipelineRef string   `json:"pipeline_ref"`
	Author      *person  `json:"author"`
	AppliedBy   *person  `json:"applied_by"`
	Targets     []system `json:"targets"`
	Digest      string   `json:"applied_digest"`
}

func (d *applied) people() []named {
	return people(named{asAuthor, d.Author}, named{asOther, d.AppliedBy})
}

type rolledBack struct {
	By       *person  `json:"rolled_back_by"`
	Targets  []system `json:"targets"`
	Restored string   `json:"restored_digest"`
}

func (d *rolledBack) people() []named { return people(named{asOther, d.By}) }

type verified struct {
	Verifier *person `json:"verifier"`
}

func (d *verified) people() []named { return people(named{asOther, d.Verifier}) }

type drifted struct {
	nobody
	Target   system `json:"target"`
	Observed string `json:"observed_digest"`
}

// People, systems and plans.

type personSaid struct {
	nobody
	Person      person    `json:"person"`
	EffectiveAt time.Time `json:"effective_at"`
}

type separated struct {
	nobody
	PersonRef   string    `json:"person_ref"`
	EffectiveAt time.Time `json:"effective_at"`
}

type qualified struct {
	nobody
	PersonRef   string    `json:"person_ref"`
	Skills      []string  `json:"skills"`
	Validity    window    `json:"validity"`
	EffectiveAt time.Time `json:"effective_at"`
}

type disqualified struct {
	nobody
	PersonRef   string    `json:"person_ref"`
	Skills      []string  `json:"skills"`
	EffectiveAt time.Time `json:"effective_at"`
}

type authorized struct {
	nobody
	ID        string `json:"authorization_id"`
	PersonRef string `json:"person_ref"`
	Role      string `json:"role"`
	Scope     struct {
		Systems []string `json:"systems"`
		Levels  []string `json:"impact_levels"`
	} `json:"scope"`
	Validity    window    `json:"validity"`
	EffectiveAt time.Time `json:"effective_at"`
}

type authorizationRevoked struct {
	nobody
	ID          string    `json:"authorization_id"`
	PersonRef   string    `json:"person_ref"`
	EffectiveAt time.Time `json:"effective_at"`
}

type systemSaid struct {
	nobody
	System system `json:"system"`
}

type planDeclared struct {
	nobody
	ID          string    `json:"ssp_id"`
	Systems     []string  `json:"systems"`
	Countries   []string  `json:"countries"`
	Employments []string  `json:"employments"`
	Classes     []string  `json:"citizenship_classes"`
	EscortModel string    `json:"escort_model"`
	Validity    window    `json:"validity"`
	EffectiveAt time.Time `json:"effective_at"`
}

// Integrity.

type heartbeat struct {
	nobody
	PeriodS int64 `json:"period_s"`
}

type periodClosed struct {
	nobody
	Period        interval         `json:"period"`
	Totals        map[string]int64 `json:"totals"`
	FirstSequence string           `json:"first_sequence"`
	LastSequence  string           `json:"last_sequence"`
}

type gap struct {
	nobody
	First string `json:"first_sequence"`
	Last  string `json:"last_sequence"`
}

type corrected struct {
	nobody
	Target eventRef `json:"target"`
	Patch  []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		From  *string         `json:"from"`
		Value json.RawMessage `json:"value"`
	} `json:"patch"`
	CorrectedBy *person `json:"corrected_by"`
	ApprovedBy  *person `json:"approved_by"`
}

type retracted struct {
	nobody
	Target      eventRef `json:"target"`
	RetractedBy *person  `json:"retracted_by"`
	ApprovedBy  *person  `json:"approved_by"`
}

type redacted struct {
	nobody
	AuthorisedBy []person `json:"authorised_by"`
}
