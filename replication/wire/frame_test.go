package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"runtime"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

func dataRecord(tb testing.TB, end replication.Mark, entries ...string) replication.Record {
	tb.Helper()
	var payload []byte
	for _, e := range entries {
		payload = append(binary.AppendUvarint(payload, uint64(len(e))), e...)
	}
	r, err := replication.EncodeRecord(replication.Seal{Epoch: 3, First: end.Position + 1, UnixMilli: 9, Prev: end.Chain},
		uint32(len(entries)), payload)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// appendFrame returns a whole Append as it goes over the wire.
func appendFrame(a replication.Append) []byte {
	b := AppendHeader(nil, a)
	for _, r := range a.Records {
		b = append(b, r.Raw...)
	}
	return b
}

// samples returns one frame of each kind.
func samples(tb testing.TB) map[FrameType][]byte {
	tb.Helper()
	one := dataRecord(tb, replication.Mark{Position: 4}, "one", "")
	hello, err := AppendJSON(nil, FrameHello, replication.Hello{Store: "orders", Member: "orders-1", Incarnation: "a", Epoch: 3, Last: one.Mark()})
	if err != nil {
		tb.Fatal(err)
	}
	reply, err := AppendJSON(nil, FrameHelloReply, replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 2, End: 77})
	if err != nil {
		tb.Fatal(err)
	}
	return map[FrameType][]byte{
		FrameHello:      hello,
		FrameHelloReply: reply,
		FrameAppend: appendFrame(replication.Append{Epoch: 3, Commit: 5, Sent: 1 << 40, Records: []replication.Record{
			one, dataRecord(tb, one.Mark(), "two"),
		}}),
		FrameDeaf: appendFrame(replication.Append{Epoch: 3, Commit: 5, Sent: 1 << 40, Deaf: true}),
		FrameAck:  AppendAck(nil, replication.Ack{Epoch: 3, Durable: 7, Applied: 6, Sent: 1 << 40}),
	}
}

func read(b []byte) (Frame, error) { return ReadFrame(bufio.NewReader(bytes.NewReader(b))) }

// Flip every bit of every frame: each flip must be an error of the frame, or of the record it hit. It must never make the
// reader wait for bytes that nobody sends, which would show here as reaching the end.
func TestFlippedBitsInFlight(t *testing.T) {
	for kind, good := range samples(t) {
		for bit := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			// Data that follows on the connection: enough for any length that passes the bounds of a small frame.
			f, err := ReadFrame(bufio.NewReader(io.MultiReader(bytes.NewReader(bad), &repeat{good})))
			if err == nil && f.Type == FrameAppend {
				err = follows(f)
			}
			if err == nil || !errors.Is(err, ErrFrame) && !errors.Is(err, replication.ErrRecordChain) {
				t.Fatalf("%v, bit %d of %d: %v", kind, bit, len(good)*8, err)
			}
		}
	}
}

// follows decodes an Append and checks its records as the log does, after position 4.
func follows(f Frame) error {
	a, err := f.Append()
	end := replication.Mark{Position: 4}
	for i := range a.Records {
		if err == nil {
			err = a.Records[i].Follows(end)
		}
		end = a.Records[i].Mark()
	}
	return err
}

// repeat is a connection that delivers the same frame again and again.
type repeat struct{ frame []byte }

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.frame), nil }

// A frame's length costs memory only as its bytes arrive.
func TestFrameLengthIsNotTrusted(t *testing.T) {
	head := appendFrame(replication.Append{Epoch: 3})
	binary.LittleEndian.PutUint32(head, MaxAppendFrame)
	binary.LittleEndian.PutUint32(head[4:], checksum(head[:frameHeader], head[frameHeader:]))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := read(append(head, make([]byte, 10)...))
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4*trusted {
		t.Fatalf("%d bytes were allocated for %d that arrived", n, len(head)+10)
	}
}

func TestLargeFrame(t *testing.T) {
	want := dataRecord(t, replication.Mark{}, string(bytes.Repeat([]byte("large"), 3<<20)))
	f, err := read(appendFrame(replication.Append{Epoch: 3, Commit: 1, Sent: 2, Records: []replication.Record{want}}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Append()
	if err != nil || len(a.Records) != 1 || !bytes.Equal(a.Records[0].Raw, want.Raw) {
		t.Fatalf("%d records, %v", len(a.Records), err)
	}
}

// FuzzFrames reads a connection's bytes up to the first error. Every frame that passes must encode to what was read.
func FuzzFrames(f *testing.F) {
	var all []byte
	for _, kind := range []FrameType{FrameHello, FrameHelloReply, FrameAppend, FrameAck, FrameDeaf} {
		b := samples(f)[kind]
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for at := 0; ; {
			frame, err := ReadFrame(r)
			if err != nil {
				if at < len(data) && !errors.Is(err, ErrFrame) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("an error of no kind: %v", err)
				}
				return
			}
			size := frameHeader + len(frame.Body)
			checkFrame(t, frame, data[at:at+size])
			at += size
		}
	})
}

// FuzzBodies reaches the parsers behind the checksum.
func FuzzBodies(f *testing.F) {
	for kind, b := range samples(f) {
		f.Add(byte(kind), b[frameHeader:])
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		b := append(make([]byte, frameHeader), body...)
		covered := b
		if FrameType(kind) == FrameAppend {
			covered = b[:min(len(b), frameHeader+appendHead)]
		}
		seal(covered, FrameType(kind), 1+len(body))
		frame, err := read(b)
		if err != nil {
			short := FrameType(kind) == FrameAppend && len(body) < appendHead
			if !short && len(body) < MaxControlFrame {
				t.Fatalf("a sealed frame of %d bytes is refused: %v", len(body), err)
			}
			return
		}
		checkFrame(t, frame, b)
	})
}

// checkFrame decodes a frame according to its type; raw is the whole frame.
func checkFrame(t *testing.T, f Frame, raw []byte) {
	switch f.Type {
	case FrameAppend, FrameDeaf:
		if a, err := f.Append(); err == nil && !bytes.Equal(appendFrame(a), raw) {
			t.Fatalf("%x decodes to %+v, which encodes differently", raw, a)
		}
	case FrameAck:
		if a, err := f.Ack(); err == nil && !bytes.Equal(AppendAck(nil, a), raw) {
			t.Fatalf("%x decodes to %+v, which encodes differently", raw, a)
		}
	case FrameHello:
		sameAgain[replication.Hello](t, f.Body)
	case FrameHelloReply:
		sameAgain[replication.HelloReply](t, f.Body)
	}
}

// sameAgain checks that what body decodes to survives another round trip.
func sameAgain[T any](t *testing.T, body []byte) {
	t.Helper()
	var first, second T
	if json.Unmarshal(body, &first) != nil {
		return
	}
	again, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%s decodes to %+v, which does not encode: %v", body, first, err)
	}
	if err := json.Unmarshal(again, &second); err != nil {
		t.Fatalf("%s decodes to %+v, encoded %s: %v", body, first, again, err)
	}
	if third, err := json.Marshal(second); err != nil || !bytes.Equal(third, again) {
		t.Fatalf("%s decodes to %+v, encoded and decoded again it is %+v (%v)", body, first, second, err)
	}
	// An omitted field may come back as nil instead of an empty list; otherwise the two must be equal.
	if reflect.TypeFor[T]().Comparable() && !reflect.DeepEqual(first, second) {
		t.Fatalf("%+v became %+v", first, second)
	}
}

// FuzzControl decodes every body of the control port.
func FuzzControl(f *testing.F) {
	mark := replication.Mark{Epoch: 3, Position: 5, Chain: 7}
	rules := []replication.Rule{{Voters: []replication.Voter{{Member: "orders-1", Incarnation: "a"}}, K: 1}}
	status := Status{
		Store: "orders", Member: "orders-0", Role: RoleLeader, Epoch: 3, Rules: rules, Last: mark, Contact: &Contact{SilentMillis: -1},
		Followers: map[string]FollowerView{"orders-1": {Durable: 5}}, Seeding: &Seeding{From: "orders-0", SecondsLeft: -1},
	}
	for i, msg := range []any{
		status, FenceRequest{3}, FenceReply{Member: "orders-1", Last: mark}, PromoteRequest{Epoch: 3, Rules: rules, Start: mark},
		FollowRequest{3, "orders-0", "10.0.0.1:7001"}, ConfigureRequest{Epoch: 3, Version: 2, Rules: rules},
		HandoverRequest{Epoch: 3, To: "orders-1", Also: []string{"orders-2"}, HoldMillis: 5000}, HandoverReply{mark}, Error{Reason: "Fenced", Message: "no", Status: &status},
	} {
		b, err := json.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	decoders := []func(*testing.T, []byte){
		sameAgain[Status], sameAgain[FenceRequest], sameAgain[FenceReply], sameAgain[PromoteRequest], sameAgain[FollowRequest],
		sameAgain[ConfigureRequest], sameAgain[HandoverRequest], sameAgain[HandoverReply], sameAgain[Error],
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) { decoders[int(kind)%len(decoders)](t, body) })
}
