import { randomUUID } from 'node:crypto'
import { TlsListener } from '../listener.ts'
import type { MqttFront } from '../mqtt/mqtt-front.ts'
import { Keeper, type CloudState } from '../persistence/keeper.ts'
import { createServerCredential } from '../pki/server-certificate.ts'
import { openFronts } from './fronts.ts'
import { managementHost, provisioningHost, serviceHost } from './host-names.ts'
import type { CloudOptions } from './options.ts'
import { createServices, type CloudServices } from './services.ts'

/** A cloud that listens. */
export interface RunningCloud {
  readonly services: CloudServices
  readonly listener: TlsListener
  readonly mqtt: MqttFront
  readonly managementToken: string
  /** The throw-away authority of the server certificate, as PEM. */
  readonly authority: string
  readonly keeper: Keeper | undefined
}

/** Starts a cloud. @throws Error when the port cannot be had, or the data folder cannot be used */
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
  const services = createServices(options, state)
  const { dps, hubs, credentialPolicies, faults } = services
  const serverNames = [...hubs.keys(), provisioningHost, serviceHost, managementHost]
  const credential = state?.credential ?? (await createServerCredential(serverNames))
  const managementToken = state?.managementToken ?? randomUUID()
  const { mqtt, greet } = await openFronts(services, {
    managementToken,
    keeping: (app) => keeper?.keeping(app) ?? app,
  })
  const port = options.port ?? state?.port ?? 0
  await keeper?.begin(() => ({
    port,
    managementToken,
    credential,
    credentialPolicies: credentialPolicies.snapshot(),
    dps: dps.snapshot(),
    hubs: Object.fromEntries([...hubs].map(([name, hub]) => [name, hub.snapshot()])),
  }))
  const refuses = (): boolean => faults.takes('tls-refused') !== undefined
  const listener = await TlsListener.open(credential, greet, { port, refuses }).catch(
    async (error: unknown) => {
      await mqtt.close()
      throw error
    },
  )
  return { services, listener, mqtt, managementToken, authority: credential.authority, keeper }
}
