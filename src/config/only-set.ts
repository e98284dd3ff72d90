/** The members that have a value: options tell one that is left out from one that is `undefined`. */
export function onlySet<Members extends object>(
  members: Members,
): { [Name in keyof Members as undefined extends Members[Name] ? never : Name]: Members[Name] } & {
  [Name in keyof Members as undefined extends Members[Name] ? Name : never]?: Exclude<
    Members[Name],
    undefined
  >
} {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}
