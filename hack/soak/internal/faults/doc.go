// Package faults draws a schedule of faults from a seed and injects them into the cluster of a stage.
package faults
