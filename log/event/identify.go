package event

import "github.com/escortlog/escortlog/log/strict"

// Identify returns source and id of a payload, by which a log knows the event,
// and whether it is an authority event. For every payload that Parse accepts it
// gives what Parse finds, many times faster: it looks at the members of the
// event's object alone, no further than it must, and copies nothing. It is for
// payloads that a log has taken, in which no name stands twice: of others it
// refuses some that Parse refuses, with Parse's error, and accepts some.
func Identify(payload []byte) (source, id []byte, authority bool, err error) {
	s := identityScan{text: payload}
	if s.members() {
		return s.source, s.id, typesByName()[string(s.typ)].Authority, nil
	}
	ev, err := Parse(payload)
	if err != nil {
		return nil, nil, false, err
	}
	return []byte(ev.Source), []byte(ev.ID), IsAuthority(ev.Type), nil
}

// identityScan walks over the members of one object. Where anything is not as
// plain as it mostly is, it gives up, and Parse decides.
type identityScan struct {
	text            []byte
	source, id, typ []byte
}

// members reads members until it has the three. It returns false when it gives up.
func (s *identityScan) members() bool {
	i := skipSpace(s.text, 0)
	if !s.at(i, '{') {
		return false
	}
	for i++; ; i++ {
		if i = skipSpace(s.text, i); !s.at(i, '"') {
			return false
		}
		end := strict.PlainEnd(s.text, i+1)
		if !s.at(end, '"') {
			return false // a name that Parse refuses, or an escape in one that it knows
		}
		name := s.text[i+1 : end]
		if i = skipSpace(s.text, end+1); !s.at(i, ':') {
			return false
		}
		i = skipSpace(s.text, i+1)
		if end = s.valueEnd(i); end < 0 || !s.keep(name, s.text[i:end]) {
			return false
		}
		if len(s.source) > 0 && len(s.id) > 0 && len(s.typ) > 0 {
			return true
		}
		if i = skipSpace(s.text, end); !s.at(i, ',') {
			return false
		}
	}
}

func (s *identityScan) at(i int, c byte) bool { return i < len(s.text) && s.text[i] == c }

// keep takes a member if it is one of the three, each once and a plain string.
func (s *identityScan) keep(name, value []byte) bool {
	var into *[]byte
	switch string(name) {
	case "source":
		into = &s.source
	case "id":
		into = &s.id
	case "type":
		into = &s.typ
	default:
		return true
	}
	if *into != nil || value[0] != '"' || strict.PlainEnd(value, 1) != len(value)-1 {
		return false
	}
	*into = value[1 : len(value)-1]
	return true
}

// valueEnd returns where the value at i ends, or -1. Of what is inside an object
// or array it looks at brackets and strings only.
func (s *identityScan) valueEnd(i int) int {
	depth := 0
	for i < len(s.text) {
		switch s.text[i] {
		case '"':
			if i = stringEnd(s.text, i); i >= len(s.text) {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 {
				return s.scalarEnd(i)
			}
		}
		if i++; depth == 0 {
			return i
		}
	}
	return -1
}

// scalarEnd returns where a number or a literal at i ends, or -1 where there is
// none.
func (s *identityScan) scalarEnd(from int) int {
	i := from
	for i < len(s.text) && (isNumberByte[s.text[i]] || s.text[i] >= 'a' && s.text[i] <= 'z') {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
