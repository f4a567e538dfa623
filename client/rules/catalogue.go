package rules

import "slices"

// Numbers of the rules built in.
const (
	SessionNoApproval = iota + 1
	Overstay
	ChangeOutsideSession
	ChangeUnapproved
	ChangeDigestDrift
	Separation
	EscortAbsent
	EscortOverload
	EscortUnqualified
	CitizenshipByLevel
	CoveredNation
	LocationWeak
	RelayUnreviewed
	ReviewTooFast
	OpaqueScript
	EscortShopping
	NoAttestation
	RecordingGap
	Lifecycle
	Sequence
	SourceSilent
	Time
	CorrectionAbuse
	RevokedUse
	Undisclosed

	firstOwn // board position of an organisation's first own rule
)

// Rule describes a rule that is built in.
type Rule struct {
	Number   int    `json:"number"`
	Name     string `json:"name"`
	Severity string `json:"severity"`
	Sentence string `json:"sentence"` // what it finds
	Unit     string `json:"unit"`     // what its population counts
	Blind    string `json:"blind"`    // what it does not see
	// Memory is what it must remember. Open sessions are those that are not settled;
	// see the package's documentation.
	Memory string `json:"memory"`
	// Closes says when a finding ends by what comes into the log later. One that goes
	// on as another, of more leaves, ends too.
	Closes string `json:"closes"`
}

// Catalogue returns the rules built in, in the order of their numbers.
func Catalogue() []Rule { return slices.Clone(catalogue) }

var catalogue = []Rule{
	{SessionNoApproval, "SESSION_NO_APPROVAL", "high",
		"A session started without an earlier approval that covers its target, privileges and time, or that was denied after it.",
		"sessions started", "Privileges are compared word by word, and only where the gateway says what the session can do. Whether the approver was entitled to approve.",
		"Open sessions.",
		"Never. Where an approval comes late it goes on as one that names that approval too."},
	{Overstay, "OVERSTAY", "medium",
		"A command after the granted window, or an end more than 5 min after it.",
		"sessions with a granted window", "A session whose end is never logged (LIFECYCLE). Where the broker granted several windows, the last instant of all counts.",
		"Open sessions.",
		"Never. It goes on as one of more leaves while the session goes on."},
	{ChangeOutsideSession, "CHANGE_OUTSIDE_SESSION", "high",
		"A change applied with a session that was not open on that target then, and by no allowed pipeline.",
		"changes applied", "By default every pipeline is allowed. Changes that nobody logs; see CHANGE_DIGEST_DRIFT and reconciliation.",
		"Open sessions, and changes up to change_memory after their last event.",
		"When the start or end of the session that was open then, or an approval for its target, comes into the log before the session is settled."},
	{ChangeUnapproved, "CHANGE_UNAPPROVED", "high",
		"A change applied without an earlier approval for its targets and time; in a declared emergency, without one within 24 h.",
		"changes applied", "What was approved (CHANGE_DIGEST_DRIFT). A change whose approval is older than change_memory counts as unapproved.",
		"Changes up to change_memory after their last event.",
		"Never by an approval that comes late; it goes on as one that names it, where it is not for what was applied."},
	{ChangeDigestDrift, "CHANGE_DIGEST_DRIFT", "high",
		"What was reviewed is not what was approved, what was approved is not what was applied, or a system drifted without a change.",
		"approvals after a review, applications after an approval, and drifts", "Digests are the sources' word. Of each system only the newest 256 digests in place are remembered.",
		"Changes as for CHANGE_UNAPPROVED, the newest 256 digests of each system, and drifts for late.",
		"A drift: when the change that brought what was found comes into the log within late. All else: never."},
	{Separation, "SEPARATION", "high",
		"One person (or one person's key) in two roles: escort and engineer; approver and requester, engineer or escort; author and reviewer or approver of a change; escort and reviewer of the session.",
		"sessions and changes with people in two roles to compare", "People are told apart by their pseudonyms and personal keys: one person with two pseudonyms looks like two.",
		"Open sessions and changes.",
		"Never. It goes on as one of more leaves while the same person takes more part."},
	{EscortAbsent, "ESCORT_ABSENT", "high",
		"A command with no active escort, or one whose last sign of presence is older than 120 s.",
		"commands in escorted sessions", "Whether the escort looks at the screen. Sessions of which nobody says that they are escorted.",
		"Open sessions.",
		"When a sign of presence, a start or a hand-over that covers the moment comes into the log before the session is settled."},
	{EscortOverload, "ESCORT_OVERLOAD", "medium",
		"One escort in more than k sessions at once; one finding for each session taken on above k.",
		"escorts in sessions", "Sessions that are not in this log.",
		"Open sessions, and who escorted when in settled ones as long as an open one may overlap it.",
		"When the end or hand-over of another session, which was before, comes into the log before this one is settled."},
	{EscortUnqualified, "ESCORT_UNQUALIFIED", "high",
		"An escort whose valid qualifications did not cover the skills required when the escort began, or who had no authorisation for the system; both logged before.",
		"escorts in sessions", "Whether a qualification means that the person can do it.",
		"Of each person the qualifications and authorisations that an open session may rest on, and of each system what it demands.",
		"Never: what is logged after the escort began does not count."},
	{CitizenshipByLevel, "CITIZENSHIP_BY_LEVEL", "high",
		"A person below the bar of the system's impact level without an escort; at IL6 always.",
		"people with access to systems of known level", "What the sources and the registry do not know; an unknown citizenship is below every bar. An absent escort (ESCORT_ABSENT).",
		"Open sessions, and of each person and system what the registry said last.",
		"When it comes into the log, before the session is settled, that somebody escorted it."},
	{CoveredNation, "COVERED_NATION", "critical",
		"Anybody who takes part in a session or change, as participant, viewer, author, approver or otherwise, located in or connected from a listed country.",
		"people of known location in sessions and changes", "A location that is false, or hidden behind a relay; see LOCATION_WEAK.",
		"Open sessions and changes.",
		"Never."},
	{LocationWeak, "LOCATION_WEAK", "medium",
		"A location unknown, only self-attested, contradicted by the connection, or changed to another country faster than anybody travels.",
		"people with access in sessions", "Movements within one country; distances.",
		"Open sessions, and of each person the newest place.",
		"When a better source of the person's place comes into the log before the session is settled. A movement: never."},
	{RelayUnreviewed, "RELAY_UNREVIEWED", "high",
		"A relayed command executed without an earlier accepted review of the same digest, or after its rejection.",
		"commands in relayed sessions", "Commands without a match digest, and sessions in which no engineer dictates.",
		"Open sessions.",
		"When a review that was before the command comes into the log within late of it."},
	{ReviewTooFast, "REVIEW_TOO_FAST", "medium",
		"A review that accepts in less than 1 s per line, or more than 12 commands within a minute of an escorted session.",
		"accepting reviews and escorted commands", "Whether the text was read while it was on the screen. Several sessions of one escort are not added up.",
		"Open sessions.",
		"Never."},
	{OpaqueScript, "OPAQUE_SCRIPT", "high",
		"A script without staging, clean scan or accepted review, or the name of an earlier script with a new digest.",
		"scripts staged and script files transferred", "Scripts that are typed, fetched by the target, or transferred under a media type that is not listed. The review is of a match digest, which cannot be compared with the artifact's.",
		"Open sessions, and names of scripts for script_memory.",
		"When the review or the staging that was missing comes into the log before the session is settled. A name with a new digest: never."},
	{EscortShopping, "ESCORT_SHOPPING", "medium",
		"An instruction rejected by one escort and accepted by another within 7 days.",
		"reviews", "An instruction that was changed in between, be it by one space.",
		"Rejections for shopping, and acceptances for late.",
		"Never."},
	{NoAttestation, "NO_ATTESTATION", "medium",
		"An escorted session that its escort did not attest within 24 h with an own key, or an anomaly in the attestation without a second person's review.",
		"escorted sessions that ended", "After a hand-over only the last escort's attestation is demanded. Whether it is true.",
		"Open sessions, until the attestation and its review are no longer awaited.",
		"When the second review, made in time, comes into the log late. An attestation that comes late makes it go on as one that names both."},
	{RecordingGap, "RECORDING_GAP", "medium",
		"Missing or broken segments of a recording, covered time under 98 % of the session's, or a recording that failed in strict mode while the session went on.",
		"sessions that ended, of known recording mode", "Whether the recording shows anything, or exists still. Only escorted sessions must be recorded at all.",
		"Open sessions.",
		"When the missing segments, or the end of the recording, come into the log before the session is settled."},
	{Lifecycle, "LIFECYCLE", "medium",
		"A start without an end, an end without a start, several of either, commands outside them, or counts in the end unlike the leaves found.",
		"sessions", "Sessions in which nothing is logged at all. What comes for a session after it was settled looks like a session without a start.",
		"Open sessions.",
		"When the start, end or other leaves that were missing come into the log before the session is settled."},
	{Sequence, "SEQUENCE", "high",
		"A gap in a source's numbers that no source.gap explains, a repeat, an event without a number, or a prevhash that is not the hash of the payload before (of either payload, after a number that was repeated).",
		"numbered events", "Events that a source never numbered, and what it stops to send at the end (SOURCE_SILENT).",
		"Of each source the newest number with the hashes of its payloads, and up to 4,096 gaps.",
		"A gap: when its numbers come, or source.gap explains them. All else: never."},
	{SourceSilent, "SOURCE_SILENT", "medium",
		"A source without a heartbeat for more than twice its period, or period totals unlike the leaves found.",
		"heartbeats expected and periods closed", "Sources for which no heartbeat is registered or promised. Periods whose ends are no full minutes.",
		"Of each source the newest heartbeat, and counts of its events by minute since its newest period was closed, of at most 40 days.",
		"Never: a silence that ended goes on as one that names the heartbeat that ended it."},
	{Time, "TIME", "low",
		"L-r over 15 min, r-t over 5 min, t or r after L, r before that of the source's event before, or an event of a period that its source has closed.",
		"events", "Authority events, which are signed by several people one after the other. A clock that is wrong all the time by less than these bounds.",
		"Of each source the newest event and period.",
		"Never."},
	{CorrectionAbuse, "CORRECTION_ABUSE", "high",
		"A correction or retraction without a second approver or not by the original source, a redaction without two authorisers, or a correction of an identity, place, time, digest or decision.",
		"corrections, retractions and redactions", "Whether the reason given is true.",
		"Nothing.",
		"Never."},
	{RevokedUse, "REVOKED_USE", "critical",
		"A key used since it was compromised, a person at work after separation or without the authorisation that was revoked, or a grant used after its revocation.",
		"keys, people and grants used", "Keys used after their revocation: no such leaf verifies. Of each key only the newest 65,536 uses are remembered. An escort's authorisation (ESCORT_UNQUALIFIED).",
		"Of each key the newest 65,536 to 131,072 uses; of each person when they were separated, enrolled, authorised and revoked, and when they were last seen.",
		"Never. It goes on as one of more leaves while the key, person or grant is used."},
	{Undisclosed, "UNDISCLOSED", "high",
		"A country, employment, citizenship class or escort model seen that the plan in force for the system does not declare.",
		"people with access to systems with a plan in force", "Systems without a plan. What nobody knows of a person.",
		"Open sessions, and of each system the plans that an open session may rest on.",
		"Never: a plan that is logged later does not count."},
}
