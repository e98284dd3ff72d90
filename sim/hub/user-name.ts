/** What the user name of a CONNECT to a hub says: `{hub}/{device}[/{module}]/?api-version=...`. */
export interface HubUserName {
  /** Lower case, without the port that SDKs leave in it. */
  readonly hubHost: string
  readonly deviceId: string
  readonly moduleId: string | undefined
  readonly apiVersion: string | undefined
}

/** Reads a user name leniently; what is missing is empty. */
export function parseHubUserName(userName: string): HubUserName {
  const question = userName.indexOf('?')
  const path = question < 0 ? userName : userName.slice(0, question)
  const [host = '', deviceId = '', moduleId = ''] = path.split('/')
  const apiVersion = new URLSearchParams(question < 0 ? '' : userName.slice(question + 1)).get('api-version')
  return {
    hubHost: host.replace(/:\d+$/, '').toLowerCase(),
    deviceId,
    moduleId: moduleId === '' ? undefined : moduleId,
    apiVersion: apiVersion === null || apiVersion === '' ? undefined : apiVersion,
  }
}
