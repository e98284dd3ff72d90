/** As deep as .NET's reader goes, and so Azure's services: System.Text.Json's `MaxDepth` is 64. */
const deepest = 64

/**
 * Whether JSON has objects and arrays within each other that no service reads. Node's parser would, but nothing could
 * write the result again: that overflows the stack.
 */
export function isTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at)
        break
      case '[':
      case '{':
        depth += 1
        if (depth > deepest) return true
        break
      case ']':
      case '}':
        depth -= 1
        break
      default:
    }
  }
  return false
}

/** Where the string that begins at `start` ends. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return at
  }
  return text.length
}
