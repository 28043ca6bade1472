// Package evidence keeps what a soak leaves behind: the logs of every process of the product, also of those that were
// killed and of pods that are gone, and what the API server holds at the end.
package evidence
