// Package reports compares what the authority records say (who led which epoch) with what the stores' status reported
// about it. It watches both from a known version on, so that it sees every version of each, also those that nobody would
// have noticed by looking now and then.
package reports
