// Package reports compares the authority records (who led which epoch) with what the stores' status reported about it. It watches
// both from a known version on and so sees every version of each, including those that occasional polling would miss.
package reports
