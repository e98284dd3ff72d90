/** Where the page of an individual enrollment is. */
export function individualPath(registrationId: string): string {
  return `/enrollments/individual/${encodeURIComponent(registrationId)}`
}

/** Where the page of an enrollment group is. */
export function groupPath(enrollmentGroupId: string): string {
  return `/enrollments/group/${encodeURIComponent(enrollmentGroupId)}`
}
