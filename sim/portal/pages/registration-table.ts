import type { RegistrationState } from '../../dps/registrations.ts'
import { html, type Html } from '../html.ts'
import { instant } from '../marks.ts'
import type { PageTools } from '../page.ts'
import { table, type Column } from '../table.ts'
import { hubName } from '../words.ts'
import { devicePath } from './device-table.ts'
import { groupPath, individualPath } from './enrollment-paths.ts'

/** A table of registrations. @param form - where they can be deleted */
export function registrationTable(states: readonly RegistrationState[], form?: PageTools['form']): Html {
  return table<RegistrationState>(
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
      ...(form === undefined ? [] : [deletion(form)]),
    ],
    states,
    'No device has registered yet.',
  )
}

function deletion(form: PageTools['form']): Column<RegistrationState> {
  return [
    'Record',
    ({ registrationId: id }) =>
      form(
        `/registrations/${encodeURIComponent(id)}/delete`,
        html`<button class="danger" id="delete-${id}" aria-label="Delete the record of ${id}">
          Delete
        </button>`,
      ),
  ]
}
