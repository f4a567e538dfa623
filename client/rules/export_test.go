package rules

// Kept counts what an engine remembers of sessions, changes and reviews.
func Kept(e *Engine) (n int) {
	for _, s := range e.sessions {
		n += len(s.facts)
	}
	for _, c := range e.changes {
		n += len(c.facts)
	}
	for _, list := range e.work.done {
		n += len(list)
	}
	return n + len(e.shopping.rejected.order) + len(e.shopping.accepted.order) + len(e.shopping.accepted.byDigest) + len(e.due.items) + len(e.drifts) + len(e.work.at)
}
