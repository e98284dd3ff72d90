import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { CredentialPolicies } from '../adr/credential-policies.ts'
import type { ProvisioningSnapshot } from '../dps/provisioning-service.ts'
import type { EstSnapshot } from '../est/est-server.ts'
import type { HttpApp } from '../http/http-front.ts'
import type { HubSnapshot } from '../hub/hub-snapshot.ts'
import type { ServerCredential } from '../pki/server-certificate.ts'
import { lockFolder } from './folder-lock.ts'
import { StateFile } from './state-file.ts'

/** Everything that a cloud keeps: JSON. */
export interface CloudState {
  /** 0 when none was asked for. */
  readonly port: number
  readonly managementToken: string
  /** Kept, so that clients trust the cloud as before. */
  readonly credential: ServerCredential
  /** With the keys by which certificates are issued. */
  readonly credentialPolicies: ReturnType<CredentialPolicies['snapshot']>
  readonly dps: ProvisioningSnapshot
  /** Missing where it was kept before there was an EST server. */
  readonly est?: EstSnapshot
  /** By host name, in the order of the hubs. */
  readonly hubs: Readonly<Record<string, HubSnapshot>>
}

const interval = 1000

/**
 * Keeps a cloud in a folder. What a service API has acknowledged is on the disk before its answer goes out; what
 * devices do over MQTT, and what a test does by the typed API, follows within a second, with `save` or with `close`.
 */
export class Keeper {
  readonly #file: StateFile
  readonly #unlock: () => void
  #collect: (() => CloudState) | undefined
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(file: StateFile, unlock: () => void) {
    this.#file = file
    this.#unlock = unlock
  }

  /** @throws Error when another cloud uses the folder, or when what is in it cannot be used */
  static async open(folder: string): Promise<{ readonly keeper: Keeper; readonly state?: CloudState }> {
    const path = resolve(folder)
    await mkdir(path, { recursive: true, mode: 0o700 })
    const unlock = lockFolder(join(path, 'cloud.lock'))
    const file = new StateFile(join(path, 'cloud.json'))
    try {
      const state = (await file.read()) as CloudState | undefined
      const keeper = new Keeper(file, unlock)
      return state === undefined ? { keeper } : { keeper, state }
    } catch (error) {
      unlock()
      throw error
    }
  }

  /** Begins to keep what `collect` gives, and writes it for the first time. */
  async begin(collect: () => CloudState): Promise<void> {
    this.#collect = collect
    await this.save()
    // The next round tries again; whoever waits for an answer is told.
    this.#timer = setInterval(() => void this.save().catch(() => undefined), interval)
    this.#timer.unref()
  }

  /** Resolves when everything up to now is on the disk. Calls that wait at the same time share one write. */
  async save(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined
        this.#running = this.#write()
        return this.#running
      })
    return this.#next
  }

  /** An app whose answers to changes go out when the change is on the disk. */
  keeping(app: HttpApp): HttpApp {
    return {
      fetch: async (request, env) => {
        const response = await app.fetch(request, env)
        if (request.method !== 'GET' && request.method !== 'HEAD') await this.save()
        return response
      },
    }
  }

  /** Saves, and gives the folder back. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    try {
      await this.save()
    } finally {
      this.#collect = undefined
      this.#unlock()
    }
  }

  async #write(): Promise<void> {
    if (this.#collect !== undefined) await this.#file.write(this.#collect())
  }
}
