import { randomUUID } from 'node:crypto'
import type { MqttFront } from '../mqtt/mqtt-front.ts'
import { Keeper, type CloudState } from '../persistence/keeper.ts'
import { createServerCredential, isServerFor } from '../pki/server-certificate.ts'
import { Doors } from './doors.ts'
import { openFronts } from './fronts.ts'
import { estHost, managementHost, provisioningHost, serviceHost } from './host-names.ts'
import { planListening } from './listening.ts'
import type { CloudOptions } from './options.ts'
import { createServices, type CloudServices } from './services.ts'

/** A cloud that listens. */
export interface RunningCloud {
  readonly services: CloudServices
  readonly doors: Doors
  /** Lines for the hosts file, where the cloud has an address of its own. */
  readonly hostsFile: string | undefined
  readonly mqtt: MqttFront
  readonly managementToken: string
  /** The throw-away authority of the server certificate, as PEM. */
  readonly authority: string
  readonly keeper: Keeper | undefined
}

/** Starts a cloud. @throws Error when the port cannot be had, or the data folder cannot be used; RangeError */
export async function startCloud(options: CloudOptions): Promise<RunningCloud> {
  if (options.data === undefined) return start(options)
  const { keeper, state } = await Keeper.open(options.data)
  try {
    return await start(options, keeper, state)
  } catch (error) {
    await keeper.close()
    throw error
  }
}

async function start(options: CloudOptions, keeper?: Keeper, state?: CloudState): Promise<RunningCloud> {
  const plan = planListening(options, state?.port)
  const services = createServices(options, state)
  const { dps, hubs, credentialPolicies, est, faults, events } = services
  const serverNames = [...hubs.keys(), provisioningHost, serviceHost, managementHost, estHost]
  const credential =
    state !== undefined && isServerFor(state.credential, plan.host)
      ? state.credential
      : await createServerCredential(serverNames, [plan.host])
  const managementToken = state?.managementToken ?? randomUUID()
  const { mqtt, greet } = await openFronts(services, {
    managementToken,
    keeping: (app) => keeper?.keeping(app) ?? app,
  })
  const port = options.port ?? state?.port ?? 0
  const hostsFile = serverNames.map((name) => `${plan.host} ${name}\n`).join('')
  await keeper?.begin(() => ({
    port,
    managementToken,
    credential,
    credentialPolicies: credentialPolicies.snapshot(),
    dps: dps.snapshot(),
    est: est.snapshot(),
    hubs: Object.fromEntries([...hubs].map(([name, hub]) => [name, hub.snapshot()])),
  }))
  const refuses = (): boolean => faults.takes('tls-refused') !== undefined
  const ended = (open: number): void => void events.emit('connectionEnded', { open })
  const doors = await Doors.open(credential, greet, { ...plan, refuses, ended }).catch(
    async (error: unknown) => {
      await mqtt.close()
      throw error
    },
  )
  return {
    services,
    doors,
    hostsFile: plan.isOwnAddress ? hostsFile : undefined,
    mqtt,
    managementToken,
    authority: credential.authority,
    keeper,
  }
}
