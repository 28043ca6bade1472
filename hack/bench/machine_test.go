package main

import (
	"testing"
	"time"
)

func TestProcessorsBusy(t *testing.T) {
	before, err := processorsBusy()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		now, err := processorsBusy()
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a minute of work is not told of")
		}
	}
}
