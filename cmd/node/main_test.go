package main

import (
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	for line, want := range map[string]string{
		"--data d":                                 "",
		"--data d --stop-grace 0 --v 0":            "",
		"--data d --memory 0":                      "--memory: 0 is not allowed (left out, it is 268435456)",
		"--data d --write-timeout 0s":              "--write-timeout: 0 is not allowed (left out, it is 10s)",
		"--data d --log-retain-bytes=0":            "--log-retain-bytes: 0 is not allowed",
		"--data d --max-clients 0":                 "--max-clients: 0 is not allowed",
		"--data d --max-value-bytes 0":             "--max-value-bytes: 0 is not allowed",
		"--data d more":                            `unexpected argument "more"`,
		"--data d --write-timeout 0 --memory 1000": "--write-timeout: 0 is not allowed",
	} {
		_, _, _, err := parse(strings.Fields(line))
		if got := ""; err != nil {
			if got = err.Error(); want == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: no error, want %q", line, want)
		}
	}
}

// RSTORE_VERSION, which an image may set to its version, is not taken for the flag --version.
func TestEnvironment(t *testing.T) {
	t.Setenv("RSTORE_VERSION", "1.2.3")
	t.Setenv("RSTORE_MAX_CLIENTS", "7")
	t.Setenv("RSTORE_MEMORY", "1000")
	opt, _, _, err := parse([]string{"--data", "d", "--memory", "20000000"})
	if err != nil || opt.MaxClients != 7 || opt.Memory != 20_000_000 {
		t.Errorf("%d clients, %d bytes: %v", opt.MaxClients, opt.Memory, err)
	}
}
