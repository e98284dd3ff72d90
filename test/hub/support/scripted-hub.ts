import type { DeviceId } from '../../../src/brands.ts'
import { hubOverMqtt, type HubOptions } from '../../../src/hub/hub-over-mqtt.ts'
import type {
  HubConnection,
  HubTransport,
  MethodHandler,
  PreparedHubConnection,
} from '../../../src/hub/hub-transport.ts'
import { credentialOf, makeAuthority, type Authority } from '../../transport/support/authority.ts'
import {
  scriptedServer,
  type Script,
  type ScriptedServer,
  type Session,
} from '../../transport/support/scripted-server.ts'
import type { DeviceCredential } from '../../../src/transport/credential.ts'

const never = new AbortController().signal
export const nothing: MethodHandler = () => ({ status: 404, payload: null })
export const target = { hub: 'hub-a.example.net', deviceId: 'gateway-1' as DeviceId } as const

/** One authority and one device for a test file. */
export class HubBench {
  readonly authority: Authority
  readonly credential: DeviceCredential

  private constructor(authority: Authority, credential: DeviceCredential) {
    this.authority = authority
    this.credential = credential
  }

  static async make(): Promise<HubBench> {
    const authority = await makeAuthority()
    return new HubBench(authority, credentialOf('gateway-1', await authority.client('gateway-1')))
  }

  /** A hub that does what the script says, and behaves otherwise. */
  async hub(script?: Script): Promise<ScriptedServer> {
    const { key, certificate } = await this.authority.server(['hub-a.example.net', 'localhost'])
    return await scriptedServer({ key, cert: certificate }, script)
  }

  transport(port: number, options: HubOptions = {}): HubTransport {
    return hubOverMqtt({
      trustedAuthorities: this.authority.certificate,
      connectTo: { '*.example.net': `127.0.0.1:${port}` },
      ...options,
    })
  }

  prepare(port: number, options: HubOptions = {}): Promise<PreparedHubConnection> {
    return this.transport(port, options).prepare(target, this.credential, never)
  }

  /** A connection, with what the hub sees of it. */
  async connect(
    hub: ScriptedServer,
    onMethod: MethodHandler = nothing,
    options: HubOptions = {},
  ): Promise<{ readonly connection: HubConnection; readonly session: Session }> {
    const session = hub.nextSession()
    const prepared = await this.prepare(hub.port, options)
    return { connection: await prepared.connect(onMethod, never), session: await session }
  }
}
