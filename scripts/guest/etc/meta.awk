# Prints name=value for each member of the object "meta" whose name starts with "nonce".
# Walks the text token by token, so that the same words elsewhere in the document do not count.
{ text = text $0 "\n" }

# The string whose opening quote is at `at`; leaves `at` behind its closing quote.
function string(    out, c) {
    out = ""
    for (at++; at <= length(text); at++) {
        c = substr(text, at, 1)
        if (c == "\\") { at++; out = out substr(text, at, 1); continue }
        if (c == "\"") { at++; return out }
        out = out c
    }
    return out
}

END {
    depth = 0; inside = 0; name = ""; last = ""
    for (at = 1; at <= length(text);) {
        c = substr(text, at, 1)
        if (c == "\"") {
            last = string()
            if (inside && depth == 2 && name != "") {
                if (name ~ /^nonce/) print name "=" last
                name = ""
            }
            continue
        }
        if (c == ":") name = last
        if (c == ",") name = ""
        if (c == "{" || c == "[") {
            depth++
            if (c == "{" && depth == 2 && name == "meta") inside = 1
            name = ""
        }
        if (c == "}" || c == "]") { if (depth == 2) inside = 0; depth--; name = "" }
        at++
    }
}
