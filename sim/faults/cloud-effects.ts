import { X509Certificate } from 'node:crypto'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import type { CredentialPolicies } from '../adr/credential-policies.ts'
import type { SimulatedProvisioningService } from '../dps/provisioning-service.ts'
import type { SimulatedEstServer } from '../est/est-server.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import type { FaultEffects } from './faults.ts'
import { parseFaultName, type CloudFault, type FaultSettings } from './names.ts'

/** What the faults of a whole cloud act on. */
export interface CloudParts {
  readonly credentialPolicies: CredentialPolicies
  readonly dps: SimulatedProvisioningService
  readonly est: SimulatedEstServer
  /** By host name. */
  readonly hubs: ReadonlyMap<string, SimulatedHub>
  /** Finds a hub by its name or host name. */
  readonly hostNameOf: (hub: string) => string
}

/** The faults that change the cloud as long as they are set. Those of one face are met request by request. */
export class CloudEffects implements FaultEffects {
  /** Milliseconds by which the services' clock is wrong. */
  skewMs = 0
  /** Host names of hubs that are down. */
  readonly down = new Set<string>()
  readonly #parts: CloudParts

  constructor(parts: CloudParts) {
    this.#parts = parts
  }

  apply({ name, settings }: Parameters<FaultEffects['apply']>[0]): () => void {
    const { fault } = parseFaultName(name)
    return fault === undefined ? nothing : this.#apply(fault, settings)
  }

  #apply(fault: CloudFault, settings: FaultSettings): () => void {
    switch (fault) {
      case 'tls-refused':
        return nothing
      case 'issuance-slow':
        return this.#slowIssuance(settings.ms ?? 0)
      case 'issuance-stuck':
        return this.#stuckIssuance(settings.times ?? Infinity)
      case 'issuance-wrong': {
        const { credentialPolicies, est } = this.#parts
        for (const { mistakes } of [credentialPolicies, est])
          mistakes.arm('other-key', settings.times ?? Infinity)
        return () => {
          credentialPolicies.mistakes.disarm()
          est.mistakes.disarm()
        }
      }
      case 'est-garbage': {
        const { mistakes } = this.#parts.est
        mistakes.arm('garbage', settings.times ?? Infinity)
        return () => mistakes.disarm()
      }
      case 'clock-skew':
        this.#setClock(settings.ms ?? 0)
        return () => this.#setClock(0)
      case 'hub-failover':
        return this.#failOver(settings.hub ?? '')
      case 'ca-revoked':
        return this.#revoke(settings.certificate ?? '')
    }
  }

  #setClock(ms: number): void {
    this.skewMs = ms
    this.#parts.dps.clockChanged()
    for (const hub of this.#parts.hubs.values()) hub.clockChanged()
  }

  #slowIssuance(ms: number): () => void {
    const { dps, hubs } = this.#parts
    const controls = [dps.issuance, ...[...hubs.values()].map(({ credentials }) => credentials.control)]
    const undo = controls.map((control) => {
      const { delayMs } = control
      control.delayMs = ms
      return () => {
        control.delayMs = delayMs
      }
    })
    return () => undo.forEach((act) => act())
  }

  #stuckIssuance(times: number): () => void {
    const { dps, est, hubs } = this.#parts
    dps.issuance.stick(times)
    est.stick(times)
    for (const { credentials } of hubs.values()) credentials.control.faults.arm({ kind: 'stick' }, times)
    return () => {
      dps.issuance.release()
      est.unstick()
      for (const { credentials } of hubs.values()) {
        credentials.control.faults.disarm()
        credentials.releaseStuck()
      }
    }
  }

  /** The hub is gone for devices and services, and DPS assigns its devices to another one. */
  #failOver(name: string): () => void {
    const { dps, hubs, hostNameOf } = this.#parts
    const hub = hubs.get(hostNameOf(name))
    if (hub === undefined) {
      throw new RangeError(`There is no hub "${name}": expected one of ${[...hubs.keys()].join(', ')}.`)
    }
    const { hostName, registry } = hub
    const link = dps.linkedHubs.snapshot()[hostName]
    dps.linkedHubs.unlink(hostName)
    this.down.add(hostName)
    for (const { deviceId } of registry.list()) hub.disconnect(deviceId, 'The hub has failed.')
    return () => {
      this.down.delete(hostName)
      if (link !== undefined) dps.linkedHubs.set(hostName, link)
    }
  }

  /** The authority attests nobody at DPS any more, and no hub trusts it. */
  #revoke(name: string): () => void {
    const { dps, hubs } = this.#parts
    const known = dps.certificates.get(name)
    if (known === undefined) {
      const names = dps.certificates.list().map((one) => one.name)
      throw new RangeError(`DPS has no certificate "${name}": expected one of ${names.join(', ')}.`)
    }
    const authority = new X509Certificate(Buffer.from(known.certificate, 'base64'))
    const stores = [dps.certificates, ...[...hubs.values()].map(({ certificates }) => certificates)]
    const undo = stores.map((store) => withdraw(store, authority))
    return () => undo.forEach((act) => act())
  }
}

function nothing(): void {
  // Met request by request.
}

/** Takes an authority away. @returns what puts it back, under its name and verified as it was */
function withdraw(store: CertificateStore, authority: X509Certificate): () => void {
  const named = store.named(authority)
  if (named === undefined) return nothing
  store.delete(named.name, named.etag)
  return () => store.restore([...store.list().filter(({ name }) => name !== named.name), named])
}
