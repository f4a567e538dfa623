//go:build !linux

package badger

func adviseMaps(string) {}
