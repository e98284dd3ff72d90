import type { SimulatedCloud } from '../../cloud.ts'
import type {
  EnrollmentGroup,
  IndividualEnrollment,
  ReprovisionPolicy,
  Stored,
} from '../../dps/enrollment.ts'
import { ServiceError } from '../../errors.ts'
import { choice, tickBox } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Html } from '../html.ts'
import type { PageTools } from '../page.ts'
import { hubName } from '../words.ts'

type Entry = Stored<IndividualEnrollment> | Stored<EnrollmentGroup>

/** What individual enrollments and groups have alike. */
type Common = Pick<
  EnrollmentGroup,
  'provisioningStatus' | 'reprovisionPolicy' | 'iotHubHostName' | 'allocationPolicy'
>

const policies = {
  migrate: { updateHubAssignment: true, migrateDeviceData: true },
  reset: { updateHubAssignment: true, migrateDeviceData: false },
  never: { updateHubAssignment: false, migrateDeviceData: false },
} as const
type Policy = keyof typeof policies

const asItIs = 'as-it-is'

/** How an entry treats a device that registers again, in words. */
export function policyInWords(policy: ReprovisionPolicy): string {
  const words: Readonly<Record<Policy, string>> = {
    migrate: 'Re-provision and migrate data',
    reset: 'Re-provision and reset to initial config',
    never: 'Never re-provision',
  }
  return words[policyOf(policy)]
}

/** Which hub devices of an entry come to, in words. */
export function hubInWords({ iotHubHostName, allocationPolicy }: Entry): string {
  if (iotHubHostName !== undefined) return hubName(iotHubHostName)
  return `chosen by DPS (${allocationPolicy ?? 'hashed'})`
}

/** The fields for them. */
export function entryFields(
  { written, ticked }: PageTools,
  { hubs }: SimulatedCloud,
  before: Entry | undefined,
): Html {
  const isOther = before?.allocationPolicy === 'custom' || before?.allocationPolicy === 'geoLatency'
  const policy = before === undefined ? 'migrate' : policyOf(before.reprovisionPolicy)
  return html`
    ${tickBox({
      name: 'enabled',
      label: 'Enable this enrollment',
      hint: 'A disabled enrollment refuses every device that it is about, whatever other enrollments say.',
      ticked: ticked('enabled', before?.provisioningStatus !== 'disabled'),
    })}
    ${choice({
      name: 'hub',
      label: 'IoT hub',
      value: written('hub', isOther ? asItIs : (before?.iotHubHostName ?? '')),
      options: [
        ['', 'chosen by DPS'],
        ...hubs.map(({ hostName }) => [hostName, hubName(hostName)] as const),
        ...(isOther ? [[asItIs, `as it is: ${before.allocationPolicy ?? ''}`] as const] : []),
      ],
    })}
    ${choice({
      name: 'reprovision',
      label: 'When a device registers again',
      value: written('reprovision', policy),
      options: Object.keys(policies).map((name) => [name, policyInWords(policies[name as Policy])] as const),
    })}
  `
}

/** What the fields say. */
export function readEntryFields(form: Form, before: Entry | undefined): Common {
  const hub = form.text('hub')
  const policy = form.text('reprovision')
  if (!Object.hasOwn(policies, policy)) {
    throw new ServiceError(
      400,
      400004,
      `Expected one of ${Object.keys(policies).join(', ')}, got "${policy}".`,
    )
  }
  return {
    provisioningStatus: form.isTicked('enabled') ? 'enabled' : 'disabled',
    reprovisionPolicy: policies[policy as Policy],
    ...(hub === asItIs && before !== undefined
      ? allocationOf(before)
      : hub === ''
        ? {}
        : { iotHubHostName: hub, allocationPolicy: 'static' }),
  }
}

/** An entry without what the fields are about. */
export function withoutCommon<Kind extends Entry>(entry: Kind): Omit<Kind, keyof Common> {
  const {
    provisioningStatus: _s,
    reprovisionPolicy: _r,
    iotHubHostName: _h,
    allocationPolicy: _a,
    ...rest
  } = entry
  return rest
}

function allocationOf({ iotHubHostName, allocationPolicy }: Entry): Common {
  return {
    ...(iotHubHostName === undefined ? {} : { iotHubHostName }),
    ...(allocationPolicy === undefined ? {} : { allocationPolicy }),
  }
}

function policyOf({ updateHubAssignment, migrateDeviceData }: ReprovisionPolicy): Policy {
  return updateHubAssignment ? (migrateDeviceData ? 'migrate' : 'reset') : 'never'
}
