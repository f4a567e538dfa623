//go:build race

package strict

const raceDetector = true
