package resp

// room reports whether a string of size+more bytes is allowed. If not, it answers with Redis's error.
func (c *call) room(size, more int64) bool {
	total := size + more
	if total < 0 || total > int64(c.srv.limits.MaxBulk) {
		c.w.fail(errTooLong)
		return false
	}
	return true
}

func appendValue(c *call) {
	key, tail := c.args[1], c.args[2]
	v, found, ok := c.getString(key)
	if !ok || (found && !c.room(int64(len(v.Data)), int64(len(tail)))) {
		return
	}
	data := make([]byte, 0, len(v.Data)+len(tail))
	data = append(append(data, v.Data...), tail...)
	c.putString(key, data, v.ExpireAt)
	c.w.integer(int64(len(data)))
}

// getRange answers GETRANGE and SUBSTR. Both ends are inclusive; negative ones count from the end of the string.
func getRange(c *call) {
	start, ok := c.intArg(2)
	if !ok {
		return
	}
	end, ok := c.intArg(3)
	if !ok {
		return
	}
	v, _, ok := c.getString(c.args[1])
	if !ok {
		return
	}
	size := int64(len(v.Data))
	if start < 0 && end < 0 && start > end {
		c.w.bulk(nil)
		return
	}
	if start < 0 {
		start = max(0, size+start)
	}
	if end < 0 {
		end = max(0, size+end)
	}
	end = min(end, size-1)
	if start > end || size == 0 {
		c.w.bulk(nil)
		return
	}
	c.w.bulk(v.Data[start : end+1])
}

func substr(c *call) { getRange(c) }

func setrange(c *call) {
	offset, ok := c.intArg(2)
	if !ok {
		return
	}
	if offset < 0 {
		c.w.fail("ERR offset is out of range")
		return
	}
	key, patch := c.args[1], c.args[3]
	v, _, ok := c.getString(key)
	if !ok {
		return
	}
	if len(patch) == 0 {
		c.w.integer(int64(len(v.Data)))
		return
	}
	if !c.room(offset, int64(len(patch))) {
		return
	}
	data := make([]byte, max(len(v.Data), int(offset)+len(patch)))
	copy(data, v.Data)
	copy(data[offset:], patch)
	c.putString(key, data, v.ExpireAt)
	c.w.integer(int64(len(data)))
}
