package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	width  = 100 // columns of a line
	indent = 3   // of everything below a scene's title
	label  = 16  // columns of a fact's label
)

// printer writes the tour. Without styled it writes plain text only.
type printer struct {
	w      io.Writer
	styled bool
	scenes int
}

// line writes one line. What cannot be shown is no reason to stop: the checks
// behind it count.
func (p *printer) line(style, text string) {
	if p.styled && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(p.w, text)
}

const (
	bold  = "1"
	green = "1;32"
	red   = "1;31"
)

// scene begins the next scene.
func (p *printer) scene(title string) {
	p.scenes++
	p.line("", "")
	p.line(bold, fmt.Sprintf("%d  %s", p.scenes, title))
}

// say writes a paragraph.
func (p *printer) say(format string, args ...any) {
	for _, l := range wrap(fmt.Sprintf(format, args...), width-indent) {
		p.line("", strings.Repeat(" ", indent)+l)
	}
}

// fact writes a labelled value; an empty label continues the fact above.
func (p *printer) fact(name, format string, args ...any) {
	p.labelled("", name, fmt.Sprintf(format, args...))
}

func (p *printer) labelled(style, name, text string) {
	for _, l := range wrap(text, width-indent-label) {
		p.line(style, fmt.Sprintf("%s%-*s%s", strings.Repeat(" ", indent), label, name, l))
		name = ""
	}
}

// attack says what the operator does.
func (p *printer) attack(format string, args ...any) {
	p.labelled(red, "the operator", fmt.Sprintf(format, args...))
}

// caught says who caught it and how.
func (p *printer) caught(by, how string) {
	for i, l := range wrap(fmt.Sprintf("caught by %s: %s", by, how), width-2*indent) {
		p.line(green, strings.Repeat(" ", indent+min(i, 1)*indent)+l)
	}
}

// quote shows text of a file, each line cut to the width.
func (p *printer) quote(text string) {
	const room = width - indent - 2
	for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if n := utf8.RuneCountInString(l); n > room {
			more := fmt.Sprintf("… (%d characters)", n)
			l = string([]rune(l)[:room-utf8.RuneCountInString(more)]) + more
		}
		p.line("", strings.Repeat(" ", indent)+"| "+l)
	}
}

// wrap breaks text between words into lines of at most n characters. A longer
// word has a line of its own. What fits on one line stays as it is, columns and
// all.
func wrap(text string, n int) []string {
	if utf8.RuneCountInString(text) <= n {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
