package main

import (
	"flag"
	"strings"
)

// undefined begins the error of package flag about a flag that there is not; its name comes next.
const undefined = "flag provided but not defined: "

// flagNames are the names of all flags, as they are written.
func flagNames(fs *flag.FlagSet) (names []string) {
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}

// didYouMean is a question about the word that is nearest to what was typed, or nothing: a word that
// begins so, or one that takes up to two edits for at least four letters.
func didYouMean(typed string, words []string) string {
	nearest, least := "", min(2, len(typed)/2)+1
	for _, word := range words {
		d := edits(strings.ToLower(typed), strings.ToLower(word))
		if len(strings.Trim(typed, "-")) > 1 && strings.HasPrefix(word, typed) {
			d = 0
		}
		if d < least {
			nearest, least = word, d
		}
	}
	if nearest == "" {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// edits counts the bytes to insert, remove or replace that make one word of another (Levenshtein's
// distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1) // of the distances from a's start to each start of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
