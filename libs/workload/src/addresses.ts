const ipv4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/u;
/** Any form of an IPv6 address, and some texts that are none: what cannot be dialed does no harm. */
const ipv6 = /^(?=.*:)[0-9a-fA-F:.]{2,45}$/u;

export function isIpv4(text: string): boolean {
  return ipv4.test(text);
}

export function isIpAddress(text: string): boolean {
  return ipv4.test(text) || ipv6.test(text);
}
