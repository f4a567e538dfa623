//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// roundsEnv is how often everything is measured, in turn with what it is compared with: the machine's own speed changes
// while a benchmark runs.
const roundsEnv = "ESCORTLOG_PEER_ROUNDS"

func rounds(b *testing.B) int {
	b.Helper()
	text := os.Getenv(roundsEnv)
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q: want a number of rounds", roundsEnv, text)
	}
	return n
}

// table gathers what was measured in one run and prints every figure, the medians, and their ratios beside the goals.
type table struct {
	title  string
	names  []string // in the order in which they came
	values map[string][]float64
	ratios []string
}

func newTable(title string) *table { return &table{title: title, values: make(map[string][]float64)} }

func (t *table) add(name string, value float64) {
	if t.values[name] == nil {
		t.names = append(t.names, name)
	}
	t.values[name] = append(t.values[name], value)
}

func (t *table) median(name string) float64 {
	v := slices.Sorted(slices.Values(t.values[name]))
	if len(v) == 0 {
		return math.NaN()
	}
	return v[len(v)/2]
}

// atLeast and atMost note the ratio of the medians of a and b, and whether it is what it should be. They fail
// nothing: a busy machine is no defect.
func (t *table) atLeast(a, b string, goal float64) {
	t.ratio(a, b, "at least", goal, t.of(a, b) >= goal)
}
func (t *table) atMost(a, b string, goal float64) { t.ratio(a, b, "at most", goal, t.of(a, b) <= goal) }

// beside notes a ratio that has no goal.
func (t *table) beside(a, b string) {
	t.ratios = append(t.ratios, fmt.Sprintf("%6.2f  %s / %s", t.of(a, b), a, b))
}

func (t *table) of(a, b string) float64 { return t.median(a) / t.median(b) }

func (t *table) ratio(a, b, kind string, goal float64, met bool) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	t.ratios = append(t.ratios, fmt.Sprintf("%6.2f  %s / %s: goal %s %.2f %s", t.of(a, b), a, b, kind, goal, verdict))
}

func (t *table) print(b *testing.B) {
	b.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", t.title)
	for _, name := range t.names {
		fmt.Fprintf(&out, "  %-58s %11s  of", name, figure(t.median(name)))
		for _, v := range t.values[name] {
			fmt.Fprintf(&out, " %s", figure(v))
		}
		out.WriteByte('\n')
	}
	for _, r := range t.ratios {
		fmt.Fprintf(&out, "  %s\n", r)
	}
	fmt.Println(out.String()) // b.Log would cut it
	b.ReportMetric(0, "ns/op")
}

// figure prints a number with three digits that say something.
func figure(v float64) string {
	switch {
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
