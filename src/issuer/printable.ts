/** Text from elsewhere on one line, without control characters and the spaces around it. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim()
}
