package controllers

import (
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	discoveryv1ac "k8s.io/client-go/applyconfigurations/discovery/v1"
)

// A Service with the -rw name that belongs to somebody else must not lead its clients to this store's leader, and must stop
// doing so if it did. Once it is gone, the store's own Service leads there.
func TestClientsOfSomebodyElsesServiceAreLedNowhere(t *testing.T) {
	for name, ledBefore := range map[string]bool{"nobody was led": false, "they were led": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := s.whole()
			if !ledBefore {
				s.cache.route = nil
			}
			var led []string // by each write
			c.refuse = func(_ child, ac runtime.ApplyConfiguration) error {
				slice, ok := ac.(*discoveryv1ac.EndpointSliceApplyConfiguration)
				if !ok {
					return nil
				}
				to := ""
				for _, e := range slice.Endpoints {
					to += *e.TargetRef.Name
				}
				led = append(led, to)
				s.cache.route = &discoveryv1.EndpointSlice{}
				return nil
			}
			c.theirs = "Service/orders-rw"
			for range 3 {
				_, _ = s.pass(t)
			}
			if ledBefore && (len(led) != 1 || led[0] != "") || !ledBefore && len(led) != 0 {
				t.Errorf("led to %q", led)
			}
			led, c.theirs = nil, ""
			if _, err := s.pass(t); err != nil || len(led) != 1 || led[0] != "orders-1" {
				t.Errorf("led to %q: %v", led, err)
			}
		})
	}
}
