/**
 * Where scenarios run: each against a simulated cloud, and each once more against a real subscription. The second run
 * is skipped, and counted as skipped, where the environment does not name one.
 *
 * | variable                          | what it is                                     | which scenarios need it                  |
 * | --------------------------------- | ---------------------------------------------- | ---------------------------------------- |
 * | `LEAFKEEPER_AZURE_DPS`            | connection string of a provisioning service    | all                                      |
 * | `LEAFKEEPER_AZURE_HUB`            | connection string of a hub that is linked to it | all                                     |
 * | `LEAFKEEPER_AZURE_ID_SCOPE`       | id scope of the provisioning service           | all                                      |
 * | `LEAFKEEPER_AZURE_TOKEN`          | bearer token for `https://management.azure.com` | those with authorities of groups or hubs |
 * | `LEAFKEEPER_AZURE_DPS_RESOURCE`   | resource id of the provisioning service        | those with authorities of groups         |
 * | `LEAFKEEPER_AZURE_HUB_RESOURCE`   | resource id of the hub                         | those with authorities of hubs           |
 * | `LEAFKEEPER_AZURE_OTHER_HUB`      | connection string of a second linked hub       | those in which devices move              |
 * | `LEAFKEEPER_AZURE_ISSUANCE`       | `1` where both issue certificates (preview), by a credential policy `default` | O4        |
 */
import { describe, onTestFinished } from 'vitest'
import { SimulatedCloud, type CloudOptions } from 'leafkeeper-sim'
import { Azure } from './azure.ts'

/** What a scenario needs of a subscription beyond a provisioning service and a hub. */
export interface Needs {
  /** It manages the authorities of enrollment groups. */
  readonly authorities?: boolean
  /** It manages the authorities of the hub. */
  readonly hubAuthorities?: boolean
  /** It moves devices to another hub. */
  readonly otherHub?: boolean
  /** The services issue certificates themselves: a preview. */
  readonly issuance?: boolean
}

/** Azure for one test. The options are for a simulated cloud; a real one is as it is. */
export type CreateAzure = (options?: CloudOptions) => Promise<Azure>

// Azure takes its time to assign a device, to run a job and to tell of either.
const realTimeout = 300_000

/** Describes a scenario. Everything in it is reached through the service SDKs, REST and the agent alone. */
export function scenario(title: string, body: (createAzure: CreateAzure) => void, needs: Needs = {}): void {
  describe(title, () => body(simulated))
  describe.skipIf(!isGiven(needs))(`${title}, in a real subscription`, { timeout: realTimeout }, () => {
    body(() => Promise.resolve(new Azure(undefined)))
  })
}

/** A cloud of its own, with one hub unless the options say otherwise. */
async function simulated(options: CloudOptions = {}): Promise<Azure> {
  const cloud = await SimulatedCloud.start({ hubs: ['hub-a'], ...options })
  onTestFinished(() => cloud.close())
  return new Azure(cloud)
}

function isGiven({
  authorities = false,
  hubAuthorities = false,
  otherHub = false,
  issuance = false,
}: Needs): boolean {
  const names = [
    ...['DPS', 'HUB', 'ID_SCOPE'],
    ...(authorities || hubAuthorities ? ['TOKEN'] : []),
    ...(authorities ? ['DPS_RESOURCE'] : []),
    ...(hubAuthorities ? ['HUB_RESOURCE'] : []),
    ...(otherHub ? ['OTHER_HUB'] : []),
    ...(issuance ? ['ISSUANCE'] : []),
  ]
  return names.every((name) => (process.env[`LEAFKEEPER_AZURE_${name}`] ?? '') !== '')
}
