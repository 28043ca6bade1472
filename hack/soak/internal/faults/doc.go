// Package faults draws a schedule of faults from a seed and puts them into the cluster of a stage.
package faults
