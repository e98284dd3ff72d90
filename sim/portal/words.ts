/** The time of day on this machine, as 14:03:59. */
export function clock(at: number): string {
  return new Date(at).toTimeString().slice(0, 8)
}

/** A date with the time of day, as 2026-11-26 14:03, on this machine. */
export function dateAndTime(at: number): string {
  const date = new Date(at)
  const [year, month, day] = [date.getFullYear(), date.getMonth() + 1, date.getDate()]
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${year}-${two(month)}-${two(day)} ${clock(at).slice(0, 5)}`
}

/** As much of a thumbprint as tells it from another one. */
export function shortened(thumbprint: string): string {
  return thumbprint.length > 16 ? `${thumbprint.slice(0, 16)}…` : thumbprint
}

/** A host name without its domain. */
export function hubName(hostName: string): string {
  return hostName.replace(/\..*$/, '')
}
