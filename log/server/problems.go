package server

import (
	"net/http"

	"github.com/escortlog/escortlog/log/event"
)

// problemKinds is the one table of what can go wrong, by slug. A slug never
// changes its meaning and is never used again for another.
var problemKinds = map[string]ProblemKind{
	// The request.
	"too-large":              {Status: http.StatusRequestEntityTooLarge, Title: "The body is too large", Doc: "One event may take 128 KiB of body, a batch 4 MiB, unless /v1/log says otherwise. Split the batch; put large content behind a digest."},
	"too-many-events":        {Status: http.StatusRequestEntityTooLarge, Title: "The batch holds too many events", Doc: "A batch holds at most 256 events, unless /v1/log says otherwise. Nothing of it was logged. Split it."},
	"event-too-large":        {Status: http.StatusRequestEntityTooLarge, Title: "The event is too large for a leaf", Doc: "A payload is at most 48 KiB, and with its signatures at most 65,535 bytes. Put large content behind a digest."},
	"unsupported-media-type": {Status: http.StatusUnsupportedMediaType, Title: "The body is of a type that is not taken", Doc: "Send application/vnd.dsse+json or application/vnd.dsse-batch+json; where the log takes unsigned events also application/cloudevents+json, application/cloudevents-batch+json or a CloudEvent in binary mode. JSON is UTF-8, and not compressed."},
	"malformed-request":      {Status: http.StatusBadRequest, Title: "The request cannot be read", Doc: "The body broke off, is not one JSON array where a batch is announced, or its headers contradict each other. Nothing was logged."},
	"malformed-envelope":     {Status: http.StatusBadRequest, Title: "The envelope cannot be read", Doc: "A DSSE envelope is strict JSON with exactly payloadType (application/cloudevents+json), payload and signatures, each signature exactly keyid and sig, base64 in the standard alphabet with padding, at most eight signatures by distinct keys."},
	"bad-parameter":          {Status: http.StatusBadRequest, Title: "A parameter of the URL is wrong", Doc: "Numbers are decimal without sign or leading zeros. Each parameter is given exactly once."},
	"timeout":                {Status: http.StatusRequestTimeout, Title: "The body did not arrive in time", Doc: "Send the body at once. Nothing was logged."},

	// The event, by what is wrong with it.
	event.SlugMalformed:         {Status: http.StatusBadRequest, Title: "The event cannot be read", Doc: "The payload is not strict JSON (UTF-8 without BOM, no repeated names, no lone surrogates, at most 32 levels) or not a CloudEvent 1.0 with the attributes this log requires. pointer names the attribute."},
	event.SlugTooManySignatures: {Status: http.StatusBadRequest, Title: "The event has too many signatures", Doc: "An event has one to eight signatures."},
	event.SlugUnknownKey:        {Status: http.StatusUnauthorized, Title: "A signature is by a key that this log does not know", Doc: "Every keyid must have been registered in this log (key.registered). No signature was verified."},
	event.SlugBadSignature:      {Status: http.StatusUnauthorized, Title: "A signature is wrong", Doc: "Every signature must verify over the DSSE pre-authentication encoding of exactly the payload sent."},
	event.SlugUnsigned:          {Status: http.StatusUnauthorized, Title: "The event must be signed", Doc: "This log takes no unsigned events, or not of this type or from this source. Sign it as a DSSE envelope with a registered key."},
	"identity-conflict":         {Status: http.StatusConflict, Title: "The source has logged another event under this id", Doc: "Source and id name one event for ever. index is where it was logged. The refused event is kept as evidence. A new event needs a new id; a correction is an event of its own (record.corrected)."},
	event.SlugStaleAuthority:    {Status: http.StatusConflict, Title: "Another authority event came first", Doc: "data.prev must be the leaf hash of the newest authority event; /v1/log shows it. Look at what changed, then sign again."},
	event.SlugKeyRevoked:        {Status: http.StatusForbidden, Title: "A signing key is revoked", Doc: "A revoked key signs nothing new and never returns. Events logged before the revocation stay, and sending them again still finds them."},
	event.SlugNotRegistered:     {Status: http.StatusForbidden, Title: "No signer is registered for this", Doc: "At least one signing key must be registered for this source and type."},
	event.SlugWrongSource:       {Status: http.StatusForbidden, Title: "The key is registered for another source", Doc: "A key signs for the source it was registered with."},
	event.SlugWrongLog:          {Status: http.StatusForbidden, Title: "The event was made for another log", Doc: "An authority event names this log's origin in source, subject and data.log."},
	event.SlugSourceRetired:     {Status: http.StatusForbidden, Title: "The source is retired", Doc: "A retired source logs nothing more."},
	event.SlugTypeNotAllowed:    {Status: http.StatusForbidden, Title: "The key may not sign this type", Doc: "The key was registered for other types."},
	event.SlugReservedType:      {Status: http.StatusForbidden, Title: "The type needs a key that names it", Doc: "Log, key, source, person and authorization types are never signed by a key registered without named types."},
	event.SlugThreshold:         {Status: http.StatusForbidden, Title: "Not enough administrators signed", Doc: "Have further administrators sign the same envelope until the threshold in /v1/log is met."},
	event.SlugNotAdmin:          {Status: http.StatusForbidden, Title: "The signer is not an administrator", Doc: "Authority events are signed by administrators of this log."},
	event.SlugAdminKey:          {Status: http.StatusForbidden, Title: "An administrator's key cannot be used for this", Doc: "Keys of administrators and keys of sources are kept apart."},
	event.SlugPossession:        {Status: http.StatusForbidden, Title: "A new key did not sign", Doc: "A key that is added signs too, to show that its holder agrees."},
	event.SlugUnknownType:       {Status: http.StatusUnprocessableEntity, Title: "The type is not known", Doc: "This log takes only types with a schema. Look for a spelling mistake, or for a newer version of the log."},
	event.SlugSchema:            {Status: http.StatusUnprocessableEntity, Title: "The event is not what its type asks for", Doc: "data does not satisfy the JSON Schema of the type, or dataschema does not name it. pointer names the place."},
	event.SlugFuture:            {Status: http.StatusUnprocessableEntity, Title: "The event is from the future", Doc: "time and recordedtime may be at most five minutes ahead of the log's clock. Set the clock of the source right."},

	// Reading.
	"read-unauthorized":           {Status: http.StatusUnauthorized, Title: "Entries are not open to everybody", Doc: "This log's operator gives out tokens to read entries. Checkpoint and hash tiles are open."},
	"client-certificate-required": {Status: http.StatusForbidden, Title: "Entries are not open to everybody", Doc: "This log lets only clients with a certificate it trusts read entries. Checkpoint and hash tiles are open."},
	"not-found":                   {Status: http.StatusNotFound, Title: "There is no such resource", Doc: "Nothing is served at this URL. Tiles are served in one spelling of their path and up to a signed head only."},
	"event-not-found":             {Status: http.StatusNotFound, Title: "No such event is logged", Doc: "No event of this source has this id, or none yet."},
	"not-published":               {Status: http.StatusNotFound, Title: "Not yet published", Doc: "The published checkpoint does not cover this yet. Try again after Retry-After."},
	"method-not-allowed":          {Status: http.StatusMethodNotAllowed, Title: "The method is not allowed here", Doc: "Allow lists the methods."},

	// Room.
	"rate-limited":   {Status: http.StatusTooManyRequests, Title: "Too many requests", Doc: "Your address has sent too many events that were refused, or has too many under way. Try again after Retry-After."},
	"overloaded":     {Status: http.StatusServiceUnavailable, Title: "The server has no room", Doc: "Try again after Retry-After, with the same bytes."},
	"pool-full":      {Status: http.StatusServiceUnavailable, Title: "The log has no room", Doc: "More events are waiting to be written than the log takes. Try again after Retry-After, with the same bytes."},
	"disk-full":      {Status: http.StatusServiceUnavailable, Title: "The disk is nearly full", Doc: "Nothing was logged. The operator must make room; then send the same bytes again."},
	"clock-behind":   {Status: http.StatusServiceUnavailable, Title: "The log's clock is behind", Doc: "The log's clock is behind its newest leaf, so it takes nothing. The operator must set it; then send the same bytes again."},
	"commit-timeout": {Status: http.StatusServiceUnavailable, Title: "The event was not durable in time", Doc: "Whether it will be is unknown. Send the same bytes again: an event is logged once."},
	"log-stopped":    {Status: http.StatusServiceUnavailable, Title: "The log takes no events", Doc: "/readyz says why. Keep what was not acknowledged and send the same bytes again later."},
	"not-ready":      {Status: http.StatusServiceUnavailable, Title: "The log is not ready", Doc: "detail says why and what to do."},

	// The server's own fault.
	"proof-failed": {Status: http.StatusInternalServerError, Title: "The log could not prove what it logged", Doc: "The event is durable, and the proof that the server made for it did not verify, so it was not sent. Tell the operator: this is an alarm. Keep your bytes."},
	"corrupt":      {Status: http.StatusInternalServerError, Title: "Stored bytes are damaged", Doc: "What is stored is not what was written, so it is not served. The operator runs fsck, which names the place."},
	"internal":     {Status: http.StatusInternalServerError, Title: "The server failed", Doc: "The operator finds the reason in the server's log."},
}
