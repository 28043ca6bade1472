package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// model is the model of one register: absent ("") or a value. Values are never empty.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) { return step(state.(string), input.(Op), output.(Op)) },
	DescribeOperation: func(_, output any) string {
		return output.(Op).String()
	},
	DescribeState: func(state any) string {
		if state == "" {
			return "absent"
		}
		return state.(string)
	},
	DescribeOperationMetadata: func(via any) string { return fmt.Sprint(via) },
}

// step reports whether a register in this state could give this answer, and returns its next state. An unknown answer rules out
// nothing.
func step(state string, in, out Op) (bool, string) {
	there, unknown := state != "", out.Open()
	switch in.Kind {
	case Get:
		return unknown || out.Found == there && out.Value == state, state
	case Set:
		return true, in.Arg
	case Swap:
		return unknown || out.Found == there && out.Value == state, in.Arg
	case SetNew:
		next := state
		if !there {
			next = in.Arg
		}
		return unknown || out.Found != there, next
	case Delete:
		return unknown || out.Found == there, ""
	case invalid:
	}
	return false, state
}

// byKey groups operations by key, in the order of their calls. It omits reads whose answer nobody saw.
func byKey(ops []Op) map[string][]Op {
	keys := map[string][]Op{}
	for _, o := range ops {
		if o.Kind == Get && o.Open() {
			continue
		}
		keys[o.Key] = append(keys[o.Key], o)
	}
	for _, of := range keys {
		slices.SortStableFunc(of, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	}
	return keys
}

// operations converts one key's operations to the checker's form. An open operation returns after everything else. A client whose
// operation stays open continues under another number, because a client of the checker does one thing at a time.
func operations(of []Op) []porcupine.Operation {
	out := make([]porcupine.Operation, len(of))
	ids, next := map[int]int{}, 0
	for i, o := range of {
		id, ok := ids[o.Client]
		if !ok {
			id, next = next, next+1
			ids[o.Client] = id
		}
		end := o.Return
		if o.Open() {
			end = math.MaxInt64
			delete(ids, o.Client)
		}
		out[i] = porcupine.Operation{ClientId: id, Input: o, Call: o.Call, Output: o, Return: end, Metadata: o.Via}
	}
	return out
}
