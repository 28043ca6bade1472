package resp

import (
	"math"
	"math/big"
	"strings"
)

func incr(c *call) { c.add(1) }
func decr(c *call) { c.add(-1) }

func incrby(c *call) {
	if n, ok := c.intArg(2); ok {
		c.add(n)
	}
}

func decrby(c *call) {
	n, ok := c.intArg(2)
	if !ok {
		return
	}
	if n == math.MinInt64 {
		c.w.fail("ERR decrement would overflow")
		return
	}
	c.add(-n)
}

func (c *call) add(n int64) {
	v, found, ok := c.getString(c.args[1])
	if !ok {
		return
	}
	var old int64
	if found {
		if old, ok = parseInt(v.Data); !ok {
			c.w.fail(errNotInteger)
			return
		}
	}
	sum := old + n
	if (n < 0) != (sum < old) && n != 0 {
		c.w.fail("ERR increment or decrement would overflow")
		return
	}
	c.putString(c.args[1], formatInt(sum), v.ExpireAt)
	c.w.integer(sum)
}

func incrbyfloat(c *call) {
	v, found, ok := c.getString(c.args[1])
	if !ok {
		return
	}
	old, n := new(big.Float).SetPrec(longDoublePrec), (*big.Float)(nil)
	if found {
		old, ok = parseLongDouble(v.Data)
	}
	if ok {
		n, ok = parseLongDouble(c.args[2])
	}
	if !ok {
		c.w.fail(errNotFloat)
		return
	}
	if old.IsInf() || n.IsInf() {
		c.w.fail("ERR increment would produce NaN or Infinity")
		return
	}
	sum := new(big.Float).SetPrec(longDoublePrec).Add(old, n)
	if sum.MantExp(nil) > longDoubleMaxExp {
		c.w.fail("ERR increment would produce NaN or Infinity")
		return
	}
	data := formatLongDouble(sum)
	c.putString(c.args[1], data, v.ExpireAt)
	c.w.bulk(data)
}

// Redis adds floats in the C type long double, which on its main platforms is the 80-bit format of the x87 with a 64-bit mantissa. A
// big.Float of that precision rounds in the same way, so that clients see the same digits.
const (
	longDoublePrec   = 64
	longDoubleMaxExp = 16384  // largest exponent, with the mantissa in [0.5, 1)
	longDoubleMinExp = -16445 // smallest exponent, including denormals
	longDoubleChars  = 5 << 10
)

// parseLongDouble parses what C's strtold accepts, except NaN: decimal and hexadecimal numbers, "inf" and "infinity", in any case. It refuses
// blanks, trailing bytes, overflow, and underflow to zero.
func parseLongDouble(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) >= longDoubleChars {
		return nil, false
	}
	s := strings.ToLower(string(b))
	unsigned := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if len(s)-len(unsigned) > 1 {
		return nil, false
	}
	if unsigned == "inf" || unsigned == "infinity" {
		return new(big.Float).SetInf(s[0] == '-'), true
	}
	digits, exponent, hex := unsigned, "e", strings.HasPrefix(unsigned, "0x")
	if hex {
		digits, exponent = unsigned[2:], "p"
	}
	if !validFloat(digits, exponent, hex) {
		return nil, false
	}
	base := 10
	text := strings.TrimPrefix(s, "+")
	if hex {
		base = 0
		if !strings.Contains(s, "p") {
			text += "p0"
		}
	}
	f, _, err := big.ParseFloat(text, base, longDoublePrec, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return nil, false
	}
	if exp := f.MantExp(nil); exp > longDoubleMaxExp || (f.Sign() != 0 && exp < longDoubleMinExp) {
		return nil, false
	}
	if f.Sign() == 0 && strings.ContainsAny(mantissa(digits, exponent), "123456789abcdef") {
		return nil, false
	}
	return f, true
}

// mantissa returns s without its exponent part.
func mantissa(s, exponent string) string {
	m, _, _ := strings.Cut(s, exponent)
	return m
}

// validFloat reports whether s consists of digits with at most one point, and an optional decimal exponent after letter.
func validFloat(s, letter string, hex bool) bool {
	m, exp, has := strings.Cut(s, letter)
	if has {
		if len(exp) > 0 && (exp[0] == '-' || exp[0] == '+') {
			exp = exp[1:]
		}
		if exp == "" || strings.Trim(exp, "0123456789") != "" {
			return false
		}
	}
	set := "0123456789"
	if hex {
		set += "abcdef"
	}
	whole, frac, _ := strings.Cut(m, ".")
	return len(whole)+len(frac) > 0 && strings.Trim(whole, set) == "" && strings.Trim(frac, set) == ""
}

// formatLongDouble formats f like Redis's human-friendly format: 17 decimals, without trailing zeros and without the sign of "-0".
func formatLongDouble(f *big.Float) []byte {
	s := f.Text('f', 17)
	s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	if s == "-0" || s == "" {
		s = "0"
	}
	return []byte(s)
}
