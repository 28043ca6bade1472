package role

import "testing"

// What was posted comes before what its poster does next.
func TestPostsComeBeforeWhatFollowsThem(t *testing.T) {
	r := start(t, options())
	for i := range 1000 {
		done := false
		r.works.Post(func() { done = true })
		if err := r.works.Do(t.Context(), func() {
			if !done {
				t.Errorf("call %d overtook what was posted before it", i)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}
