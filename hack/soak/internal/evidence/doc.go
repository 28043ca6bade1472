// Package evidence preserves what a soak leaves behind: the logs of every process of the product, including killed processes and
// pods that are gone, and what the API server holds at the end.
package evidence
