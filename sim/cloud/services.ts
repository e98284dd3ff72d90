import { CredentialPolicies } from '../adr/credential-policies.ts'
import { SimulatedProvisioningService } from '../dps/provisioning-service.ts'
import { SimulatedEstServer } from '../est/est-server.ts'
import { CloudEvents } from '../events.ts'
import { CloudEffects } from '../faults/cloud-effects.ts'
import { Faults } from '../faults/faults.ts'
import { SimulatedHub } from '../hub/hub.ts'
import type { CloudState } from '../persistence/keeper.ts'
import { hubHostName, serviceHost } from './host-names.ts'
import type { CloudOptions } from './options.ts'

/** The services of one cloud, before anything reaches them. */
export interface CloudServices {
  readonly idScope: string
  readonly dps: SimulatedProvisioningService
  /** By host name, in the order they were given. */
  readonly hubs: ReadonlyMap<string, SimulatedHub>
  /** Those of DPS and of all hubs. */
  readonly credentialPolicies: CredentialPolicies
  readonly est: SimulatedEstServer
  readonly events: CloudEvents
  readonly faults: Faults
  readonly effects: CloudEffects
  /** The services' clock, wrong by what the faults say. */
  readonly now: () => number
}

/** Makes the services, as they were when their state was kept. @throws Error when that was kept of other hubs */
export function createServices(options: CloudOptions, state: CloudState | undefined): CloudServices {
  const events = new CloudEvents()
  const clock = options.now ?? Date.now
  const now = (): number => clock() + effects.skewMs
  const idScope = '0ne00LEAF01'
  const onRecordReplaced = options.onRecordReplaced ?? 'keep-session'
  const credentialPolicies = new CredentialPolicies()
  const hubs = new Map(
    hubNames(options, state).map((hostName) => [
      hostName,
      new SimulatedHub({ hostName, onRecordReplaced, credentialPolicies, events, now }),
    ]),
  )
  const dps = new SimulatedProvisioningService({
    idScope,
    hostName: serviceHost,
    hubs: [...hubs.values()],
    credentialPolicies,
    groupAuthentication: options.groupAuthentication ?? 'selfSigned',
    disabledEnrollment: options.disabledEnrollment ?? 'unauthorized',
    retryAfterSeconds: options.retryAfterSeconds ?? 0,
    events,
    now,
  })
  const est = new SimulatedEstServer(events, now)
  const effects = new CloudEffects({ credentialPolicies, dps, est, hubs, hostNameOf: hubHostName })
  const faults = new Faults(options.seed ?? 1, effects)
  if (state !== undefined) {
    credentialPolicies.restore(state.credentialPolicies)
    for (const [name, snapshot] of Object.entries(state.hubs)) hubs.get(name)?.restore(snapshot)
    dps.restore(state.dps)
    if (state.est !== undefined) est.restore(state.est)
  }
  return { idScope, dps, hubs, credentialPolicies, est, events, faults, effects, now }
}

/** @throws Error when the data folder was made for other hubs: the server's certificate names those */
function hubNames({ hubs, data }: CloudOptions, state: CloudState | undefined): readonly string[] {
  const kept = state === undefined ? undefined : Object.keys(state.hubs)
  const wanted = hubs?.map(hubHostName)
  if (kept !== undefined && wanted !== undefined && [...wanted].sort().join() !== [...kept].sort().join()) {
    throw new Error(
      `The folder ${data ?? ''} holds the hubs ${kept.join(', ')}, not ${wanted.join(', ')}. Leave the hubs out, or use another folder.`,
    )
  }
  return kept ?? wanted ?? ['hub-a', 'hub-b'].map(hubHostName)
}
