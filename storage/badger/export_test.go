package badger

import "time"

// DataEnd is dataEnd, for tests that copy sparse files.
var DataEnd = dataEnd

// SetCloseWait shortens the wait of Close for an engine that failed.
func (s *Store) SetCloseWait(d time.Duration) { s.closeWait = d }
