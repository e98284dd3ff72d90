import type { RegistrationState } from '../../dps/registrations.ts'
import { html, type Html } from '../html.ts'
import { instant } from '../marks.ts'
import { table } from '../table.ts'
import { hubName } from '../words.ts'
import { devicePath } from './device-table.ts'
import { groupPath, individualPath } from './enrollment-paths.ts'

/** A table of registrations. */
export function registrationTable(states: readonly RegistrationState[]): Html {
  return table(
    'Registration records',
    [
      ['Registration', ({ registrationId }) => registrationId],
      ['Device', ({ deviceId }) => html`<a href="${devicePath(deviceId)}">${deviceId}</a>`],
      ['Hub', ({ assignedHub }) => hubName(assignedHub)],
      [
        'Enrollment',
        ({ registrationId, enrollmentGroupId: group }) =>
          group === undefined
            ? html`<a href="${individualPath(registrationId)}">individual</a>`
            : html`<a href="${groupPath(group)}">${group}</a>`,
      ],
      ['How', ({ substatus }) => substatus],
      ['Last', ({ lastUpdatedDateTimeUtc }) => instant(Date.parse(lastUpdatedDateTimeUtc))],
    ],
    states,
    'No device has registered yet.',
  )
}
