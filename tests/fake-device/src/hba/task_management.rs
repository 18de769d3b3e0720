//! The control queue: task management functions (5.6.6.2), as far as the device knows them.

use zerocopy::FromBytes;

use super::{Hba, Request, Served, check_lun, place};
use virtio::spec::scsi::{CONTROL_TASK_MANAGEMENT, Response, TaskManagement, TaskManagementRequest};

/// What the device makes of a task management function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obedience {
    /// It ends the commands that are meant, and then answers, as QEMU does (hw/scsi/virtio-scsi.c, `virtio_scsi_do_tmf`).
    Prompt,
    /// It answers, and the commands that are meant come back, ended, when their turn comes.
    Late,
    /// It ends none: it does the commands that are meant, and then answers FUNCTION SUCCEEDED, as Linux's vhost-scsi does
    /// (drivers/vhost/scsi.c, `vhost_scsi_handle_tmf` and `vhost_scsi_tmf_resp_work`).
    Waits,
    /// It does none of the commands that are meant, and says of each that it was done, as Linux's vhost-scsi may: a command
    /// that is being aborted is not begun any more, or gets no status of what it came to, and is answered with the 0 that
    /// stands there (drivers/target/target_core_transport.c, `target_cmd_interrupted` before `scsi_status` is set;
    /// drivers/vhost/scsi.c, `vhost_scsi_release_cmd` and `vhost_scsi_complete_cmd_work`).
    Pretends,
    /// It answers this, and does nothing.
    Says(Response),
    /// It never answers, and does nothing.
    Silent,
}

/// All but CLEAR ACA.
pub(super) const OF_QEMU: &[TaskManagement] = &[
    TaskManagement::ABORT_TASK,
    TaskManagement::ABORT_TASK_SET,
    TaskManagement::CLEAR_TASK_SET,
    TaskManagement::I_T_NEXUS_RESET,
    TaskManagement::LOGICAL_UNIT_RESET,
    TaskManagement::QUERY_TASK,
    TaskManagement::QUERY_TASK_SET,
];

impl Hba {
    /// The task management functions so far.
    pub fn task_management(&self) -> &[TaskManagementRequest] {
        &self.task_management
    }

    /// Marks the commands that a function ends, and returns those that come back before it is answered.
    pub(super) fn end_commands(&mut self, request: &Request<'_>) -> Vec<(u16, u16)> {
        let readable = request.readable();
        let Ok(asked) = TaskManagementRequest::read_from_bytes(&readable) else {
            return Vec::new();
        };
        let function = TaskManagement(asked.function.get());
        let (unit, tag) = (place(asked.lun), asked.tag.get());
        let obeys = !matches!(self.obedience, Obedience::Says(_) | Obedience::Silent);
        if !obeys || self.response_to(&asked) != Response::OK {
            return Vec::new();
        }
        let mut ended = Vec::new();
        for command in &mut self.commands {
            let same_unit = command.place == unit;
            let (meant, response) = match function {
                TaskManagement::ABORT_TASK => (same_unit && command.tag == tag, Response::ABORTED),
                TaskManagement::ABORT_TASK_SET | TaskManagement::CLEAR_TASK_SET => {
                    (same_unit, Response::ABORTED)
                }
                TaskManagement::LOGICAL_UNIT_RESET => (same_unit, Response::RESET),
                TaskManagement::I_T_NEXUS_RESET => (command.place.0 == unit.0, Response::RESET),
                _ => (false, Response::OK),
            };
            if meant {
                command.ended = match self.obedience {
                    Obedience::Waits => None,
                    Obedience::Pretends => Some(Response::OK),
                    _ => Some(response),
                };
                ended.push(command.request);
            }
        }
        if self.obedience == Obedience::Late { Vec::new() } else { ended }
    }

    /// Answers a function.
    pub(super) fn manage_tasks(&mut self, request: &mut Request<'_>) -> Served {
        let readable = request.readable();
        let asked = TaskManagementRequest::read_from_bytes(&readable).ok();
        let asked = asked.filter(|asked| asked.kind.get() == CONTROL_TASK_MANAGEMENT);
        request.rule(asked.is_some(), "5.6.6.2: a task management request has 24 bytes, and type 0");
        request.rule(request.writable_bytes() > 0, "5.6.6.2: there is room for a response of one byte");
        let Some(asked) = asked else {
            return Served::Done;
        };
        check_lun(request, asked.lun);
        self.task_management.push(asked);
        let response = match self.obedience {
            Obedience::Silent => return Served::Kept,
            Obedience::Says(response) => response,
            Obedience::Waits | Obedience::Pretends if self.response_to(&asked) == Response::OK => {
                Response::FUNCTION_SUCCEEDED
            }
            Obedience::Prompt | Obedience::Late | Obedience::Waits | Obedience::Pretends => {
                self.response_to(&asked)
            }
        };
        request.write(0, &[response.0]);
        Served::Done
    }

    fn response_to(&self, asked: &TaskManagementRequest) -> Response {
        let function = TaskManagement(asked.function.get());
        let (unit, tag) = (place(asked.lun), asked.tag.get());
        if !self.functions.contains(&function) {
            return Response::FUNCTION_REJECTED;
        }
        let has_target = self.units.keys().any(|(target, _)| *target == unit.0);
        let mut of_unit = self.commands.iter().filter(|command| command.place == unit);
        let found = match function {
            TaskManagement::I_T_NEXUS_RESET => return Response::OK,
            _ if !has_target => return Response::BAD_TARGET,
            _ if !self.units.contains_key(&unit) => return Response::INCORRECT_LUN,
            TaskManagement::QUERY_TASK => of_unit.any(|command| command.tag == tag),
            TaskManagement::QUERY_TASK_SET => of_unit.next().is_some(),
            _ => false,
        };
        if found { Response::FUNCTION_SUCCEEDED } else { Response::OK }
    }
}
