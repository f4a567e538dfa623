package view

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// The answers of a claim.
const (
	Pass         = "pass"
	Fail         = "fail"
	NotEvaluable = "not_evaluable" // the detail says why
)

// Claim is one kind of completeness and whether it was proven.
type Claim struct {
	Name       string `json:"name"` // "A log" to "D world"
	Result     string `json:"result"`
	Population int64  `json:"population"`
	Unit       string `json:"unit"`
	Detail     string `json:"detail"`
}

// Origin says where the leaves of a view come from and what is proven about
// them.
type Origin struct {
	Log       string    `json:"origin"` // the log's name
	Size      int64     `json:"size"`   // of the tree that the checkpoint commits to
	Root      tlog.Hash `json:"root"`
	Cosigners []string  `json:"cosigners"` // witnesses whose cosignatures verified
	Genesis   string    `json:"genesis"`   // leaf hash of leaf 0
	Claims    []Claim   `json:"claims"`
	// Findings are about the whole log: proven, and to worry about.
	Findings []string `json:"findings"`
	// Sample says how the lines were drawn from the answer; nil: all are shown.
	Sample *Sample `json:"sample,omitempty"`
}

// Sample is how some lines were drawn from many, so that anybody can draw them
// again.
type Sample struct {
	Seed       string `json:"seed"`
	Population int64  `json:"population"` // leaves from which was drawn
	Drawn      int64  `json:"drawn"`
	Method     string `json:"method"`
}

// Claim states, beside what was proven about the log, that the answer is
// complete: scanned is how many leaves the view was fed with.
func (o *Origin) Claim(log Claim, scanned int64) {
	query := Claim{Name: "B query", Result: Pass, Population: scanned, Unit: "leaves", Detail: "complete by full scan: every leaf of the checkpoint was asked"}
	switch {
	case log.Result != Pass:
		query.Result, query.Detail = NotEvaluable, "the log was not read whole"
	case scanned != o.Size:
		query.Result, query.Detail = Fail, fmt.Sprintf("%d leaves were asked, and the checkpoint commits to %d", scanned, o.Size)
	}
	o.Claims = []Claim{
		log, query,
		{Name: "C source", Result: NotEvaluable, Unit: "sources", Detail: "not checked here: whether the sources' sequences and totals agree"},
		{Name: "D world", Result: NotEvaluable, Unit: "records", Detail: "not checked here: whether everything that happened was logged"},
	}
}

// proven names the claims that hold, as "A,B".
func (o *Origin) proven() string {
	s := ""
	for _, c := range o.Claims {
		if c.Result == Pass {
			if s != "" {
				s += ","
			}
			s += c.Name[:1]
		}
	}
	return s
}
